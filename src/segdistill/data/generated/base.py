"""What generated datasets share: items drawn anew from (split, index), on each machine alike, without files."""

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from segdistill.errors import UserError, unknown


class Generated:
    """Items of a split, so many, of a size."""

    def _set_up(
        self, dataset: str, lengths: Mapping[str, int], split: str, length: int | None, size: tuple[int, int]
    ) -> None:
        """Check and keep what is to be generated; without a ``length`` as many as ``lengths`` says."""
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
        """Return None: there is no file."""
        return None

    def _chance(self, index: int) -> np.random.Generator:
        """Return what an item is drawn from."""
        return np.random.default_rng((zlib.crc32(self.split.encode()), index))
