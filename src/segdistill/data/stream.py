"""The order of training: what is seen at a position of the run depends on the seed and that position alone.

A resumed run, and a run with another number of workers or processes, therefore sees the same data.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from segdistill.data.datasets.base import ImageDataset, Sample
from segdistill.errors import UserError
from segdistill.system.threads import allowed_cores

Transform = Callable[..., tuple[Tensor, Tensor]]
"""Takes a dataset's image and labels, returns tensors that can be batched."""


class TrainingStream(Dataset[tuple[Tensor, Tensor]]):
    """Item ``p`` is what a run sees at position ``p`` = 0, 1, 2, ... without end.

    Each epoch of ``len(dataset)`` positions is a permutation of the dataset drawn from (seed, epoch); the
    augmentation is drawn from (seed, p). The global random states are left as they were.
    """

    def __init__(self, dataset: ImageDataset, transform: Transform, seed: int) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def index(self, position: int) -> int:
        """Return the index in the dataset of what is seen at a position."""
        epoch, place = divmod(position, len(self.dataset))
        return int(_permutation(self.seed, epoch, len(self.dataset))[place])

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        sample = self.dataset[self.index(position)]
        with _random_state(self.seed, position):
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

    Yields images, float32 (B, 3, h, w), and labels, int64 (B, h, w) or, of a classification set, (B,), with
    B = ``batch_size / world_size``.
    Step ``s`` of the whole run is made of the positions ``s * batch_size`` up to ``(s + 1) * batch_size``,
    in order of rank.

    Args:
        stream: The run's data.
        batch_size: Images per step over all processes.
        steps: Length of the whole run.
        start: First step, > 0 when a run is resumed.
        workers: Processes that read ahead; 0 reads in this one.
        rank, world_size: This process and their number.

    Raises:
        UserError: If the batch cannot be shared equally; while iterating, whatever is wrong with a file.
    """
    if batch_size < 1 or batch_size % world_size:
        raise UserError(f"batch size {batch_size} must be a positive multiple of the {world_size} processes")
    batches = _Batches(start, steps, batch_size, rank, world_size)
    return _loader(stream, batches, workers)


def evaluation_loader(
    dataset: ImageDataset,
    transform: Transform,
    *,
    batch_size: int = 1,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return a loader in order: one image at a time, (1, 3, H, W) and (1, H', W'), or batches.

    Process ``rank`` gets items rank, rank + world_size, ...: each item once over all processes, so no image
    counts twice and the last processes may get one fewer.

    Args:
        dataset, transform: What to read and how.
        batch_size: More than 1 needs images of one size, as classification's evaluation transform makes them.
        workers, rank, world_size: As in :func:`training_loader`.
    """
    indices = range(rank, len(dataset), world_size)
    batches = [list(indices[first : first + batch_size]) for first in range(0, len(indices), batch_size)]
    return _loader(_Transformed(dataset, transform), batches, workers)


class _Transformed(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, dataset: Dataset[Sample], transform: Transform) -> None:
        self.dataset = dataset
        self.transform = transform

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(*self.dataset[index])


class _Batches(Sampler[list[int]]):
    """The positions of each step that belong to one rank."""

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
    """A DataLoader whose workers' UserErrors stay one line: they arrive wrapped in the worker's traceback."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:  # type: ignore[override]
        try:
            yield from super().__iter__()
        except UserError as error:
            lines = str(error).splitlines()
            if len(lines) == 1:
                raise
            raise UserError(lines[-1].partition(": ")[2]) from error  # "segdistill.errors.UserError: message"


def _loader(
    dataset: Dataset[tuple[Tensor, Tensor]], batches: _Batches | list[list[int]], workers: int
) -> DataLoader[tuple[Tensor, Tensor]]:
    return _Loader(
        dataset,
        batch_sampler=batches,
        num_workers=min(workers, allowed_cores()),
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # or starting to iterate would draw from the run's own random state
    )


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, length: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(length)


@contextmanager
def _random_state(seed: int, position: int) -> Iterator[None]:
    """Seed every global CPU generator a transform may draw from, and restore it afterwards."""
    # The 1 keeps augmentation and permutation apart: SeedSequence((seed, e)) serves the epochs.
    derived = int(np.random.SeedSequence((seed, position, 1)).generate_state(1, np.uint64)[0])
    python, legacy_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would also reset the accelerator's generator, under the network's dropout.
        torch.default_generator.manual_seed(derived)
        random.seed(derived)
        np.random.seed(derived % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy_numpy)
