import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors

from segdistill.data import (
    Scenes,
    TrainingStream,
    evaluation_loader,
    evaluation_transform,
    open_dataset,
    training_loader,
    training_transform,
)
from segdistill.errors import UserError

Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture
def stream() -> TrainingStream:
    return TrainingStream(Scenes(length=7, size=(24, 32)), training_transform((16, 20)), seed=3)


def same(left: Batches, right: Batches) -> bool:
    pairs = zip(left, right, strict=True)
    return all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in pairs)


def noisy(image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Draws from all three global generators."""
    return torch.tensor([random.random(), np.random.rand(), float(torch.rand(()))]), labels


def test_batches(stream: TrainingStream) -> None:
    loader = training_loader(stream, 4, steps=3)
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    images, labels = batches[0]
    assert (images.shape, images.dtype) == ((4, 3, 16, 20), torch.float32)
    assert (labels.shape, labels.dtype) == ((4, 16, 20), torch.int64)


def test_epochs_are_different_permutations(stream: TrainingStream) -> None:
    epochs = [[stream.index(epoch * 7 + place) for place in range(7)] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    other = TrainingStream(stream.dataset, stream.transform, seed=4)
    assert [other.index(place) for place in range(14)] != epochs[0] + epochs[1]


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_count_does_not_matter(stream: TrainingStream, workers: int) -> None:
    alone = list(training_loader(stream, 3, steps=5))
    assert same(alone, list(training_loader(stream, 3, steps=5, workers=workers)))


def test_resuming_continues(stream: TrainingStream) -> None:
    whole = list(training_loader(stream, 3, steps=6))
    assert same(whole[4:], list(training_loader(stream, 3, steps=6, start=4)))
    assert not same(whole[:2], whole[4:])


def test_ranks_share_each_batch(stream: TrainingStream) -> None:
    whole = list(training_loader(stream, 4, steps=3))
    shares = [list(training_loader(stream, 4, steps=3, rank=rank, world_size=2)) for rank in range(2)]
    joined = [tuple(map(torch.cat, zip(*parts, strict=True))) for parts in zip(*shares, strict=True)]
    assert same(whole, joined)


@pytest.mark.parametrize(("batch_size", "world_size"), [(3, 2), (0, 1)])
def test_batch_that_cannot_be_shared(stream: TrainingStream, batch_size: int, world_size: int) -> None:
    with pytest.raises(UserError, match=f"batch size {batch_size} must be .* multiple of the {world_size}"):
        training_loader(stream, batch_size, steps=1, world_size=world_size)


def test_seed_and_position_change_the_augmentation(stream: TrainingStream) -> None:
    first = TrainingStream(stream.dataset, noisy, seed=0)
    draws = {tuple(first[p][0].tolist()) for p in range(50)}
    draws |= {tuple(TrainingStream(stream.dataset, noisy, seed=1)[p][0].tolist()) for p in range(50)}
    assert len({value for draw in draws for value in draw}) == 300  # no two alike, in any generator
    assert tuple(first[31][0].tolist()) in draws


def test_global_random_states_are_left_alone(stream: TrainingStream) -> None:
    def states() -> tuple[object, ...]:
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()

    before = states()
    list(training_loader(TrainingStream(stream.dataset, noisy, seed=0), 2, steps=2))
    list(evaluation_loader(stream.dataset, evaluation_transform()))
    assert states() == before


def test_global_random_states_do_not_matter(stream: TrainingStream) -> None:
    torch.manual_seed(1)
    first = stream[5]
    torch.manual_seed(2)
    assert same([first], [stream[5]])


@pytest.mark.parametrize("workers", [0, 1])
def test_error_stays_one_line(folder: Path, write, workers: int) -> None:
    (folder / "classes.json").write_text(json.dumps({"classes": ["a", "b", "c"]}))
    for item in range(3):
        write(folder / f"labels/train/town/train{item}.png", 7)
    stream = TrainingStream(open_dataset("folder", folder), training_transform((4, 4)), seed=0)
    with pytest.raises(UserError, match=r"^mask '.*train\d\.png' has label 7 in 48 pixels") as caught:
        list(training_loader(stream, 2, steps=2, workers=workers))
    assert "\n" not in str(caught.value)
    assert type(caught.value) is UserError


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_in_order_each_once(workers: int) -> None:
    data = Scenes("val", length=5, size=(24, 32))
    seen = [
        list(evaluation_loader(data, evaluation_transform(), workers=workers, rank=rank, world_size=2))
        for rank in range(2)
    ]
    assert [len(part) for part in seen] == [3, 2]
    for index in range(5):
        images, labels = seen[index % 2][index // 2]
        assert images.shape == (1, 3, 24, 32)
        assert torch.equal(labels[0], data[index][1].long())


def test_loader_can_be_run_again_with_workers() -> None:
    loader = evaluation_loader(Scenes("val", length=3, size=(24, 32)), evaluation_transform(), workers=1)
    assert same(list(loader), list(loader))


def test_evaluation_keeps_native_labels() -> None:
    data = Scenes("val", length=1, size=(24, 32), scale=0.5, native_labels=True)
    ((images, labels),) = evaluation_loader(data, evaluation_transform())
    assert images.shape == (1, 3, 12, 16)
    assert labels.shape == (1, 24, 32)


class Sizes(Scenes):
    """Images of the heights 16, 16, 16, 24, 16, 16, and labels of the same size, except for the last."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = super().__getitem__(index)
        height = [16, 16, 16, 24, 16, 16][index]
        return tv_tensors.Image(image[:, :height]), tv_tensors.Mask(labels[: height - (index == 5)])


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_batches_have_one_size(workers: int) -> None:
    data = Sizes("val", length=6, size=(24, 32))

    def sizes(**options: int | None) -> list[int]:
        seen = list(evaluation_loader(data, evaluation_transform(), workers=workers, **options))
        images = [each for images, _ in seen for each in images]
        assert all(torch.equal(each, evaluation_transform()(*data[index])[0]) for index, each in enumerate(images))
        return [len(images) for images, _ in seen]

    assert sizes(batch_size=6) == [3, 1, 1, 1]
    assert sizes(batch_size=2) == [2, 1, 1, 1, 1]
    assert sizes(batch_size=6, pixels=2 * 16 * 32) == [2, 1, 1, 1, 1]
    assert sizes(batch_size=6, pixels=2 * 16 * 32 - 1) == [1] * 6
