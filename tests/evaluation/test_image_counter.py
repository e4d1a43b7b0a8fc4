"""Counts of each image: by hand, over processes, in sum equal to the score, without a wait for the device."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from segdistill.data import Scenes
from segdistill.evaluation.image_counter import ImageCounter
from segdistill.evaluation.scoring import evaluate
from segdistill.recipes.schema import Data, Evaluation
from segdistill.statistics.resampling import scores
from tests.evaluation.test_scoring import Counting
from tests.networks import small

NAMES, CLASSES = ("one", "two"), ("road", "sky", "pole")
PREDICTED = torch.tensor([[[0, 1, 1]], [[2, 2, 0]]])
LABELS = torch.tensor([[[0, 1, 0]], [[2, 1, 255]]])
# Image "one": road 1 hit of 2 labeled, 1 predicted; sky 1, 1, 2. Image "two": sky 0, 1, 0; pole 1, 1, 2.
ENTRIES = [[0, 0, 1, 2, 1], [0, 1, 1, 1, 2], [1, 1, 0, 1, 0], [1, 2, 1, 1, 2]]


def fabric() -> Fabric:
    return Fabric(accelerator="cpu")


@pytest.mark.parametrize("at_a_time", [1, 2])
@pytest.mark.parametrize("is_on_cpu", [True, False])
def test_by_hand(at_a_time: int, is_on_cpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_on_cpu:
        monkeypatch.setattr("segdistill.evaluation.confusion.CPU", "another device")
    counter = ImageCounter(2, 3, 255, fabric(), classifies=False)
    with Counting() as counting:
        for predicted, labels in zip(PREDICTED.split(at_a_time), LABELS.split(at_a_time), strict=True):
            counter.add(predicted, labels)
    assert is_on_cpu or counting.counts == {}
    found = counter.gathered(NAMES, CLASSES, ["pole"])
    assert found.entries.tolist() == ENTRIES
    assert (found.images, found.classes, found.counted, found.task) == (NAMES, CLASSES, ("pole",), "segmentation")


def test_classified_images_by_hand() -> None:
    counter = ImageCounter(4, 3, -1, fabric(), classifies=True)
    with Counting() as counting:
        counter.add(torch.tensor([2, 0, 1]), torch.tensor([2, 1, -1]))
        counter.add(torch.tensor([0]), torch.tensor([2]))
    assert counting.counts == {}
    found = counter.gathered("abcd", CLASSES, [])
    # a: right. b: sky taken for road. c: no label. d: pole taken for road.
    assert found.entries.tolist() == [
        [0, 2, 1, 1, 1], [1, 0, 0, 0, 1], [1, 1, 0, 1, 0], [3, 0, 0, 0, 1], [3, 2, 0, 1, 0],
    ]  # fmt: skip
    assert found.task == "classification"


def test_processes_keep_the_order_of_the_images() -> None:
    """Process r counts the images r, r + 2, ...; the sum over processes has each image in its row."""
    images = [(PREDICTED[n % 2][None].roll(n, 2), LABELS[n % 2][None]) for n in range(5)]
    alone = ImageCounter(5, 3, 255, fabric(), classifies=False)
    for image in images:
        alone.add(*image)
    counters = []
    for rank in (0, 1):
        engine: Any = SimpleNamespace(device=torch.device("cpu"), global_rank=rank, world_size=2)
        counters.append(ImageCounter(5, 3, 255, engine, classifies=False))
        share = images[rank::2]
        for batch in (share[:2], share[2:]):
            if batch:
                counters[-1].add(torch.cat([each[0] for each in batch]), torch.cat([each[1] for each in batch]))
    counters[0].fabric = SimpleNamespace(all_reduce=lambda counts, reduce_op: counts + counters[1]._counts)  # type: ignore[assignment]
    names = "abcde"
    assert np.array_equal(counters[0].gathered(names, CLASSES).entries, alone.gathered(names, CLASSES).entries)


@pytest.mark.parametrize("absent", ["ignore", "zero"])
def test_the_sum_over_the_images_is_the_score(absent: str) -> None:
    torch.manual_seed(0)
    network, images = small(10).eval(), Scenes("val", length=5, size=(48, 64))
    protocol = Evaluation(batch_size=2, absent=absent)  # type: ignore[arg-type]
    score = evaluate(network, images, fabric(), Data(), protocol=protocol, keeps_images=True)
    plain = evaluate(network, images, fabric(), Data(), protocol=protocol)
    assert plain == score
    assert plain.images is None
    counts = score.images
    assert counts is not None
    assert counts.images == tuple(images.name(index) for index in range(5))
    sums = np.zeros((len(counts.classes), 3))
    np.add.at(sums, counts.entries[:, 1], counts.entries[:, 2:])
    found = scores(sums, counts, {name: (name,) for name in counts.classes})
    assert float(found["all"]) == pytest.approx(score.value, abs=1e-12)
    for name, value in score.classes.items():
        assert float(found[name]) == pytest.approx(float("nan") if value is None else value, abs=1e-12, nan_ok=True)
