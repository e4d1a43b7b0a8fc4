"""Look through a dataset's masks: what is in them, and which cannot be used."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segdistill.data.classes import VOID
from segdistill.data.datasets.base import ClassificationDataset, SegmentationDataset
from segdistill.data.decoding.images import image_size, read_image, reading_threads
from segdistill.errors import UserError

# So many masks are read before it is asked again whether every class was seen.
AT_A_TIME = 200


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
            raise UserError(f"{len(self.problems)} of {total} masks or their images cannot be used: {shown}")


def check_images(
    dataset: SegmentationDataset | ClassificationDataset, indices: Iterable[int], *, decodes: bool
) -> None:
    """Raise one UserError that shows the first images that cannot be read, and counts them.

    Args:
        dataset: Of images in files; others are passed over.
        indices: Which images.
        decodes: Decode them; False looks at their headers.
    """

    def problem(index: int) -> str | None:
        path = dataset.path(index)
        try:
            if path is not None:
                read_image(path) if decodes else image_size(path)
        except UserError as error:
            return str(error)
        return None

    chosen = list(indices)
    with ThreadPoolExecutor(reading_threads()) as pool:
        found = [each for each in pool.map(problem, chosen) if each is not None]
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise UserError(f"{len(found)} of {len(chosen)} images cannot be used: {'; '.join(found[:3])}{more}")


def absent_classes(
    dataset: SegmentationDataset | ClassificationDataset, found: LabelReport | None = None, looked: Iterable[int] = ()
) -> tuple[str, ...]:
    """Return the classes that occur in no label of a dataset; those that only name what is void need not.

    Masks are read until every class was seen.

    Args:
        dataset: Usually a training set.
        found: What is known of some of its masks.
        looked: Which ones.
    """
    waiting = set(range(len(dataset.classes))) - set(dataset.classes.void)
    if isinstance(dataset, ClassificationDataset):
        labels = (dataset.label(index) for index in range(len(dataset)))
        while waiting and (label := next(labels, None)) is not None:
            waiting.discard(label)
    else:
        left = sorted(set(range(len(dataset))) - set(looked))
        report = found
        while True:
            if report is not None:
                waiting -= {index for index, pixels in enumerate(report.pixels) if pixels}
            if not waiting or not left:
                break
            report, left = scan_labels(dataset, left[:AT_A_TIME]), left[AT_A_TIME:]
    return tuple(dataset.classes.names[index] for index in sorted(waiting))


def check_classes(dataset: SegmentationDataset | ClassificationDataset, absent: tuple[str, ...]) -> None:
    """Raise a UserError that names the classes without a label in a training set, if there are any."""
    if not absent:
        return
    layout = getattr(dataset, "layout", None)
    shown = ", ".join(f"'{name}'" for name in absent[:4]) + (f" and {len(absent) - 4} more" if len(absent) > 4 else "")
    is_void = layout is not None and layout.void_is_given_as(VOID) and len(dataset.classes) == 2
    hint = '; if 255 in the masks is a class, take "ignore_index" out of classes.json' if is_void else ""
    raise UserError(
        f"{len(absent)} of {len(dataset.classes)} classes have no pixel in the training labels: {shown}; correct the "
        f"labels or the class names, or set data.allow_empty_classes=true to train all the same{hint}"
    )


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
