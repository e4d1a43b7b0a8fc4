"""A scan of the masks of a data set, which counts classes and collects unusable files."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segdistill.data.classes import VOID
from segdistill.data.datasets.base import ClassificationDataset, SegmentationDataset
from segdistill.data.decoding.images import read_upright, reading_threads, upright_size
from segdistill.errors import UserError, few
from segdistill.system.progress import tracked

# Masks to read between two checks whether every class has been seen.
AT_A_TIME = 200


@dataclass(frozen=True)
class LabelReport:
    """Counts over the masks of a data set.

    Attributes:
        masks: Number of masks read without an error.
        pixels: Pixels per class.
        images: Number of masks that contain each class.
        void: Number of void pixels.
        problems: One line per unusable mask.
    """

    masks: int
    pixels: tuple[int, ...]
    images: tuple[int, ...]
    void: int
    problems: tuple[str, ...]

    def check(self) -> None:
        """Raise one UserError with the first problems and their number, if there are any."""
        if self.problems:
            total = self.masks + len(self.problems)
            raise UserError(
                f"{len(self.problems)} of {total} masks or their images cannot be used: {few(self.problems, 3, '; ')}"
            )


def check_images(dataset: SegmentationDataset | ClassificationDataset, indices: Iterable[int], *, decodes: bool) -> int:
    """Raise one UserError with the first unreadable images and their number, if there are any.

    Args:
        dataset: A data set. Items that are generated are skipped.
        indices: Indices of the images to check.
        decodes: Decode the images; False reads only their headers.

    Returns:
        The number of images that are turned upright by their EXIF orientation.
    """

    def is_turned(index: int) -> bool | str:
        source = dataset.source(index)
        try:
            return source is not None and (read_upright(source) if decodes else upright_size(source))[1]
        except UserError as error:
            return str(error)

    chosen = list(indices)
    with ThreadPoolExecutor(reading_threads()) as pool:
        answers = list(tracked(pool.map(is_turned, chosen), "reading images", len(chosen)))
    problems = [each for each in answers if isinstance(each, str)]
    if problems:
        raise UserError(f"{len(problems)} of {len(chosen)} images cannot be used: {few(problems, 3, '; ')}")
    return answers.count(True)


def absent_classes(
    dataset: SegmentationDataset | ClassificationDataset, found: LabelReport | None = None, looked: Iterable[int] = ()
) -> tuple[str, ...]:
    """Return the classes that occur in no label of a data set. Classes that mean void are exempt.

    Masks are read until every class has been seen.

    Args:
        dataset: Usually a training set.
        found: Counts of masks that were read before.
        looked: Indices of those masks.
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
    """Raise a UserError that names the classes absent from a training set, if there are any."""
    if not absent:
        return
    layout = getattr(dataset, "layout", None)
    names = few((f"'{name}'" for name in absent), 4)
    is_void = layout is not None and layout.void_is_given_as(VOID) and len(dataset.classes) == 2
    hint = '; if 255 in the masks is a class, remove "ignore_index" from classes.json' if is_void else ""
    raise UserError(
        f"{len(absent)} of {len(dataset.classes)} classes have no pixel in the training labels: {names}; correct the "
        f"labels or the class names, or set data.allow_empty_classes=true to train anyway{hint}"
    )


def scan_labels(dataset: SegmentationDataset, indices: Iterable[int] | None = None) -> LabelReport:
    """Read masks, check their values and sizes, and count the pixels of each class.

    Images are not decoded. Problems are collected, not raised: call :meth:`LabelReport.check`.

    Args:
        dataset: The data set.
        indices: Indices of the masks; None for all.
    """

    def count(index: int) -> NDArray[np.int64] | str:
        try:
            return np.bincount(dataset.read_labels(index).ravel(), minlength=VOID + 1)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(reading_threads()) as pool:
        chosen = list(range(len(dataset)) if indices is None else indices)
        results = list(tracked(pool.map(count, chosen), "reading masks", len(chosen)))
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
