"""Look through a dataset's masks: what is in them, and which cannot be used."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segdistill.data.classes import VOID
from segdistill.data.datasets import SegmentationDataset
from segdistill.data.reading import reading_threads
from segdistill.errors import UserError


@dataclass(frozen=True)
class LabelReport:
    """What a dataset's masks hold.

    Attributes:
        masks: How many were read without an error.
        pixels: Pixels per class.
        images: Masks per class that have a pixel of it.
        void: Pixels that are void.
        problems: One line for each mask that cannot be used.
    """

    masks: int
    pixels: tuple[int, ...]
    images: tuple[int, ...]
    void: int
    problems: tuple[str, ...]

    def check(self) -> None:
        """Raise one UserError that shows the first problems and counts all of them, if there are any."""
        if self.problems:
            more = len(self.problems) - 3
            shown = "; ".join(self.problems[:3]) + (f"; and {more} more" if more > 0 else "")
            total = self.masks + len(self.problems)
            raise UserError(f"{len(self.problems)} of {total} masks cannot be used: {shown}")


def scan_labels(dataset: SegmentationDataset, indices: Iterable[int] | None = None) -> LabelReport:
    """Read masks, of ``indices`` or all, check their values and sizes and count the pixels of each class.

    Images are not decoded. Problems are collected, not raised: call :meth:`LabelReport.check`.
    """

    def count(index: int) -> NDArray[np.int64] | str:
        try:
            return np.bincount(dataset.read_labels(index).ravel(), minlength=VOID + 1)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(reading_threads()) as pool:
        results = list(pool.map(count, range(len(dataset)) if indices is None else indices))
    counts = [result for result in results if not isinstance(result, str)]
    totals = sum(counts, start=np.zeros(VOID + 1, dtype=np.int64))
    containing = sum((counted > 0 for counted in counts), start=np.zeros(VOID + 1, dtype=np.int64))
    num_classes = len(dataset.classes)
    return LabelReport(
        masks=len(counts),
        pixels=tuple(totals[:num_classes].tolist()),
        images=tuple(containing[:num_classes].tolist()),
        void=int(totals[VOID]),
        problems=tuple(result for result in results if isinstance(result, str)),
    )
