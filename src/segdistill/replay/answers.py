"""The recorded answers of a teacher, read one by one and checked."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segdistill.errors import UserError
from segdistill.replay.codes import Row, decode

# A crop that was made again is the recorded one if the pixels of a grid agree to this distance. Normalized pixels of
# 8 bits are at least 0.017 apart; float16 rounds them by at most 0.001.
TOLERANCE = 0.01
GRID = 4


class Answers:
    """The answers of a teacher to the crops of a data set, in the files of a folder.

    Args:
        rows: The layout of each feature's answers, by name.
        files: The file of each feature, by name.
        marks: The file with a few pixels of each crop.
        count: The number of crops.
    """

    def __init__(self, rows: Mapping[str, Row], files: Mapping[str, Path], marks: Path, count: int) -> None:
        self.rows = dict(rows)
        self._files, self._marks, self._count = dict(files), marks, count

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features."""
        return tuple(self.rows)

    def read(self, row: int) -> list[Tensor]:
        """Return codes, scales and offsets of each feature's answer to a crop.

        Raises:
            UserError: The checksum of an answer does not match.
        """
        tensors: list[Tensor] = []
        for name, layout in self.rows.items():
            content = layout.unpacked(np.array(self._opened[name][row]))
            if content is None:
                raise _damaged(self._files[name])
            tensors += content
        return tensors

    def decoded(self, stored: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the features of a batch by name, float32.

        Args:
            stored: What :meth:`read` returns, as batches: codes and scales of each feature in turn.
        """
        pairs = zip(stored[::2], stored[1::2], strict=True)
        return {name: decode(codes, maps) for name, (codes, maps) in zip(self.rows, pairs, strict=True)}

    def check_crop(self, row: int, image: Tensor, name: str) -> None:
        """Check that a crop is the one that the teacher has answered.

        Raises:
            UserError: It is another one, because the image has changed, or a library augments in another way.
        """
        recorded = torch.from_numpy(np.array(self._opened_marks[row])).float()
        if not torch.allclose(mark(image).float(), recorded, rtol=0, atol=TOLERANCE):
            raise UserError(
                f"a crop of image '{name}' is not the one that the teacher answered in {self._marks.parent}: the image "
                "or a library has changed; delete the folder, and run the same command again"
            )

    @cached_property
    def _opened(self) -> dict[str, NDArray[np.uint8]]:
        return {
            name: np.memmap(file, np.uint8, mode="r", shape=(self._count, self.rows[name].bytes))
            for name, file in self._files.items()
        }

    @cached_property
    def _opened_marks(self) -> NDArray[np.float16]:
        return np.memmap(self._marks, "<f2", mode="r", shape=(self._count, 3, GRID, GRID))

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the open files, which a loader process opens again."""
        return {key: value for key, value in vars(self).items() if key not in ("_opened", "_opened_marks")}


def mark(image: Tensor) -> Tensor:
    """Return the pixels of a 4x4 grid in a crop, float16 (3, 4, 4), on the CPU: they tell crops apart, mirrored too."""
    rows, columns = ((2 * torch.arange(GRID) + 1) * side // (2 * GRID + 1) for side in image.shape[-2:])
    return image[:, rows[:, None], columns[None]].to("cpu", torch.float16)


MARK_BYTES = 2 * 3 * GRID * GRID


def _damaged(file: Path) -> UserError:
    return UserError(f"{file} is damaged; delete the folder {file.parent}, and run the same command again")
