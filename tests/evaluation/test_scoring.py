"""Scores of whole data sets: in batches as one by one, and without a wait for the device at each image."""

from collections import Counter
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch.utils._python_dispatch import TorchDispatchMode

from segdistill.data import Scenes
from segdistill.evaluation import scoring
from segdistill.evaluation.confusion import Confusion
from segdistill.evaluation.scoring import evaluate
from segdistill.recipes.schema import Data, Evaluation
from tests.networks import small

WAITING = ("_local_scalar_dense", "nonzero", "unique", "masked_select", "is_nonzero", "item", "equal", "bincount")


@pytest.fixture
def fabric() -> Fabric:
    return Fabric(accelerator="cpu")


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return small(10).eval()


def batches_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that are scored from now on."""
    sizes: list[int] = []
    predict = scoring._predict

    def predicted(network: Any, images: torch.Tensor, *args: Any) -> torch.Tensor:
        sizes.append(len(images))
        return predict(network, images, *args)

    monkeypatch.setattr(scoring, "_predict", predicted)
    return sizes


@pytest.mark.parametrize("at_a_time", [None, 1, 3, 8])
def test_batches_score_as_single_images(
    network: torch.nn.Module, fabric: Fabric, at_a_time: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = Scenes("val", length=7, size=(48, 64))
    one_by_one = evaluate(network, images, fabric, Data(), protocol=Evaluation(batch_size=1))
    sizes = batches_of(monkeypatch)
    assert evaluate(network, images, fabric, Data(), protocol=Evaluation(batch_size=at_a_time)) == one_by_one
    assert sizes == {None: [1] * 7, 1: [1] * 7, 3: [3, 3, 1], 8: [7]}[at_a_time]
    assert 0 < one_by_one.value < 1


def test_batches_on_a_gpu_are_limited_in_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    assert scoring._batches(False, Evaluation(), gpu) == {"batch_size": 8, "pixels": 2**22}
    assert scoring._batches(False, Evaluation(batch_size=3), gpu) == {"batch_size": 3}
    assert scoring._batches(True, Evaluation(), gpu) == {"batch_size": 64}


class Counting(TorchDispatchMode):
    """Counts the operations that wait for the device, or have a size that depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put_", "index_put") else ()
        if name in WAITING or any(each is not None and each.dtype == torch.bool for each in indices):
            self.counts[name] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("void", [(), (3,)])
@pytest.mark.parametrize("protocol", [Evaluation(), Evaluation(scales=(0.5, 1.0), flip=True, window=(32, 32))])
def test_no_image_waits_for_the_device(
    network: torch.nn.Module,
    fabric: Fabric,
    protocol: Evaluation,
    void: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("segdistill.evaluation.confusion.CPU", "another device")
    dataset = Scenes("val", length=1, size=(48, 64))
    object.__setattr__(dataset.classes, "void", void)
    try:
        confusion = Confusion(10, 255, torch.device("cpu"))
        labels = dataset[0][1][None].long()
        with torch.no_grad(), Counting() as counting:
            predicted = scoring._predict(
                network, torch.randn(1, 3, 48, 64), labels, dataset, fabric, "the network", protocol
            )
            confusion.add(predicted, labels)
        assert counting.counts == {}
        assert int(confusion.total(fabric).sum()) == int((labels != 255).sum())
    finally:
        object.__setattr__(dataset.classes, "void", ())
