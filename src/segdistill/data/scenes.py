"""Generated street scenes: a dataset without files, made anew from (split, index) on each machine alike."""

import zlib
from pathlib import Path

import numpy as np

from segdistill.data.datasets import SegmentationDataset
from segdistill.data.layouts.generated import SCENES
from segdistill.data.reading import Array
from segdistill.data.street import draw_street
from segdistill.errors import UserError, unknown

LENGTHS = {"train": 400, "val": 60, "test": 100}


class Scenes(SegmentationDataset):
    """Street scenes with exact labels; see :mod:`segdistill.data.street` for what is in them.

    Args:
        split: "train", "val" or "test"; scene ``i`` of a split is always the same.
        length: How many; by default :data:`LENGTHS`.
        size: Height and width in pixels.
        scale, native_labels, cache: See :class:`~segdistill.data.datasets.SegmentationDataset`.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        length: int | None = None,
        size: tuple[int, int] = (96, 160),
        scale: float | None = None,
        native_labels: bool = False,
        cache: bool = False,
    ) -> None:
        super().__init__(SCENES, scale=scale, native_labels=native_labels, cache=cache)
        if split not in LENGTHS:
            raise unknown("split", split, LENGTHS, hint="in dataset 'scenes'")
        if min(size) < 16:
            raise UserError(f"scenes need at least 16x16 pixels, got {size[0]}x{size[1]} (height x width)")
        self.split = split
        self.size = size
        self._length = LENGTHS[split] if length is None else length

    def __len__(self) -> int:
        return self._length

    def name(self, index: int) -> str:
        """Return for instance "train_00007"."""
        return f"{self.split}_{index:05d}"

    def path(self, index: int) -> Path | None:
        """Return None: there is no file."""
        return None

    def read(self, index: int) -> tuple[Array, Array]:
        """Draw the scene."""
        rng = np.random.default_rng((zlib.crc32(self.split.encode()), index))
        return draw_street(rng, *self.size)
