"""Base class of generated data sets. An item depends only on (split, index), so it is the same on every machine."""

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from segdistill.errors import UserError, unknown


class Generated:
    """Mixin for a split of generated items, of a given number and size."""

    def _set_up(
        self, dataset: str, lengths: Mapping[str, int], split: str, length: int | None, size: tuple[int, int]
    ) -> None:
        """Check and store the split, the size and the number of items, by default ``lengths[split]``."""
        if split not in lengths:
            raise unknown("split", split, lengths, hint=f"in dataset '{dataset}'")
        if min(size) < 16:
            raise UserError(f"{dataset} need at least 16x16 pixels, got {size[0]}x{size[1]} (height x width)")
        self.split = split
        self.size = size
        self._length = lengths[split] if length is None else length

    def __len__(self) -> int:
        return self._length

    def name(self, index: int) -> str:
        """Return for instance "train_00007"."""
        return f"{self.split}_{index:05d}"

    def path(self, index: int) -> Path | None:
        """Return None, because there is no file."""
        return None

    def image_size(self, index: int) -> tuple[int, int]:
        """Return the height and width of an image before scaling."""
        return self.size

    def _chance(self, index: int) -> np.random.Generator:
        """Return the random generator of an item."""
        return np.random.default_rng((zlib.crc32(self.split.encode()), index))
