"""The order of training data. The item at a position of a run depends only on the seed and that position.

A resumed run, or one with another number of workers or processes, therefore sees the same data.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from segdistill.data.datasets.base import ImageDataset, Sample
from segdistill.errors import UserError
from segdistill.system.threads import allowed_cores

Transform = Callable[..., tuple[Tensor, Tensor]]
"""Maps an image and its labels to tensors that can be batched."""

Collate = Callable[[list[tuple[Tensor, Tensor]]], list[tuple[Tensor, Tensor]]]


class TrainingStream(Dataset[tuple[Tensor, Tensor]]):
    """An endless sequence of training items; item ``p`` is used at position ``p`` of a run.

    Each epoch of ``len(dataset)`` positions is a permutation of the data set drawn from (seed, epoch). Augmentation
    is drawn from (seed, p). Global random states are unchanged.
    """

    def __init__(self, dataset: ImageDataset, transform: Transform, seed: int) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def index(self, position: int) -> int:
        """Return the index in the data set of the item at a position."""
        epoch, offset = divmod(position, len(self.dataset))
        return int(_permutation(self.seed, epoch, len(self.dataset))[offset])

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        sample = self.dataset[self.index(position)]
        # The 1 makes this sequence independent of the permutations, which use SeedSequence((seed, epoch)).
        with random_state(self.seed, position, 1):
            return self.transform(*sample)


def training_loader(
    stream: TrainingStream,
    batch_size: int,
    *,
    steps: int,
    start: int = 0,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return a loader of the steps ``start`` .. ``steps - 1`` of a run.

    Yields images, float32 (B, 3, h, w), and labels, int64 (B, h, w) or (B,) for classification, with
    B = ``batch_size / world_size``. Step ``s`` consists of the positions ``s * batch_size`` up to
    ``(s + 1) * batch_size``, divided among processes in order of rank.

    Args:
        stream: The run's data.
        batch_size: Images per step over all processes.
        steps: Length of the whole run.
        start: First step; > 0 for a resumed run.
        workers: Number of loader processes; 0 loads in the current process, as does a data set on a device.
        rank, world_size: Index of this process and the number of processes.

    Raises:
        UserError: If the batch cannot be divided equally among the processes. Damaged files raise during iteration.
    """
    if batch_size < 1 or batch_size % world_size:
        raise UserError(f"batch size {batch_size} must be a positive multiple of the {world_size} processes")
    batches = _Batches(start, steps, batch_size, rank, world_size)
    return batch_loader(stream, batches, workers)


def evaluation_loader(
    dataset: ImageDataset,
    transform: Transform,
    *,
    batch_size: int = 1,
    pixels: int | None = None,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return a loader that visits the data set in order.

    Yields images (B, 3, H, W) and labels (B, H', W') or (B,), with B up to ``batch_size``: a batch ends early before an
    image or labels of another size. Process ``rank`` receives items
    rank, rank + world_size, ... Each item is visited exactly once over all processes, so some processes may receive
    one item fewer.

    Args:
        dataset: Items to load.
        transform: Transform of each item.
        batch_size: The largest number of images in a batch.
        pixels: The largest number of pixels of the images in a batch of more than one.
        workers, rank, world_size: See :func:`training_loader`.
    """
    indices = range(rank, len(dataset), world_size)
    batches = [list(indices[first : first + batch_size]) for first in range(0, len(indices), batch_size)]
    return batch_loader(_Transformed(dataset, transform), batches, workers, partial(_of_one_size, pixels=pixels))


def _of_one_size(samples: list[tuple[Tensor, Tensor]], pixels: int | None) -> list[tuple[Tensor, Tensor]]:
    """Return batches of consecutive samples of one size."""
    batches: list[list[tuple[Tensor, Tensor]]] = []
    for image, labels in samples:
        last = batches[-1][-1] if batches else None
        fits = last is not None and (image.shape, labels.shape) == (last[0].shape, last[1].shape)
        if fits and (pixels is None or (len(batches[-1]) + 1) * image[0].numel() <= pixels):
            batches[-1].append((image, labels))
        else:
            batches.append([(image, labels)])
    return [default_collate(batch) for batch in batches]


class _Transformed(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, dataset: Dataset[Sample], transform: Transform) -> None:
        self.dataset = dataset
        self.transform = transform

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(*self.dataset[index])


class _Batches(Sampler[list[int]]):
    """The positions of each step assigned to one rank."""

    def __init__(self, start: int, steps: int, batch_size: int, rank: int, world_size: int) -> None:
        self.steps = range(start, steps)
        self.batch_size = batch_size
        self.share = batch_size // world_size
        self.rank = rank

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            first = step * self.batch_size + self.rank * self.share
            yield list(range(first, first + self.share))


class _Loader(DataLoader[tuple[Tensor, Tensor]]):
    """A DataLoader that restores one-line UserErrors; torch wraps a worker's error in its traceback.

    If collating returns a list of batches, they are yielded one by one.
    """

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:  # type: ignore[override]
        try:
            for each in super().__iter__():
                if isinstance(each[0], Tensor):
                    yield each
                else:
                    yield from each
        except UserError as error:
            lines = str(error).splitlines()
            if len(lines) == 1:
                raise
            raise UserError(lines[-1].partition(": ")[2]) from error  # "segdistill.errors.UserError: message"


def batch_loader(
    dataset: Dataset[tuple[Tensor, Tensor]],
    batches: _Batches | list[list[int]],
    workers: int,
    collate: Collate | None = None,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return a loader of these batches of indices, with at most one worker for each core."""
    # Other processes cannot use the memory of the device.
    is_held = getattr(getattr(dataset, "dataset", None), "device", None) is not None
    return _Loader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=0 if is_held else min(workers, allowed_cores()),
        persistent_workers=workers > 0 and not is_held,
        pin_memory=torch.cuda.is_available() and not is_held,
        generator=torch.Generator(),  # without one, iterating draws from the run's random state
    )


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, length: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(length)


@contextmanager
def random_state(*seed: int) -> Iterator[None]:
    """Seed all global CPU generators that a transform may use, and restore them afterward."""
    derived = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
    python, legacy_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also reset the accelerator's generator, which the network's dropout uses.
        torch.default_generator.manual_seed(derived)
        random.seed(derived)
        np.random.seed(derived % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy_numpy)
