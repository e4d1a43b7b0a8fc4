"""Checks of a run's data before its first step: labels, images, classes without pixels, images in two splits."""

from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console

from segdistill.data import SegmentationDataset, scan_labels
from segdistill.data.generated.base import Generated
from segdistill.data.statistics.repeats import repeated_images
from segdistill.data.statistics.scan import LabelReport, absent_classes, check_classes, check_images
from segdistill.errors import UserError, few
from segdistill.evaluation.scoring import ImageSet
from segdistill.training.session import Session

# Number of images of a split that are checked before training. `segdistill doctor` checks and decodes all of them.
SAMPLED = 500


def look_at_data(session: Session, console: Console) -> None:
    """Check a sample of the data and print what :func:`look` reports."""
    look(session, lambda line: console.print(line, soft_wrap=True))


def look(session: Session, emit: Callable[[str], None], *, thoroughly: bool = False) -> None:
    """Check every split that a run uses: training, validation, and the one that results are reported on.

    Args:
        session: The opened recipe.
        emit: Receives one line for each remark that is no error and, if ``thoroughly``, one that describes each split.
        thoroughly: Check all masks instead of a sample, and decode every image.

    Raises:
        UserError: If labels or images cannot be used, a class has no pixel in the training labels, or a split has no
            labeled pixel.
    """
    turned = read = 0
    sets = {split: session.dataset(split) for split in ("train", *session.scored_splits)}
    for split, dataset in sets.items():
        is_certain = isinstance(dataset, Generated)
        if is_certain and not thoroughly:
            continue
        chosen = _all(dataset) if thoroughly else _spread(dataset)
        report = None
        if isinstance(dataset, SegmentationDataset):
            report = scan_labels(dataset, chosen)
            report.check()
        of_split = check_images(dataset, chosen, decodes=thoroughly)
        turned, read = turned + of_split, read + len(chosen)
        if thoroughly:
            emit(_described(split, dataset, report))
        if is_certain:
            continue
        if isinstance(dataset, SegmentationDataset) and report is not None:
            _check_labeled(dataset, split, report)
            is_read = len(chosen) == len(dataset)  # a class may be in the masks that are not
            if split != "train" and is_read and session.recipe.evaluation.absent == "ignore":
                _emit_absent(split, absent_classes(dataset, report, chosen), emit)
        if split == "train" and not session.recipe.data.allow_empty_classes:
            check_classes(dataset, absent_classes(dataset, report, chosen))
        if split != "train":
            _emit_repeats(sets["train"], dataset, split, chosen, emit)
    if turned and sets["train"].task == "segmentation":
        emit(f"{turned} of {read} images are turned upright by their EXIF orientation; their masks must be upright too")


def _check_labeled(dataset: SegmentationDataset, split: str, sample: LabelReport) -> None:
    if not any(sample.pixels) and not any(scan_labels(dataset).pixels):
        raise UserError(
            f"{split} has no labeled pixel: every mask is void throughout, so nothing can be learned from it or scored "
            'on it; correct its masks, or "ignore_index" in classes.json'
        )


def _emit_absent(split: str, absent: Sequence[str], emit: Callable[[str], None]) -> None:
    if absent:
        emit(
            f"{split} has no pixel of {few(absent, 4)}: such a class counts as 0 for a network that predicts it in one "
            "pixel, and not at all for another; evaluation.absent=zero counts it always"
        )


def _all(dataset: ImageSet) -> list[int]:
    return list(range(len(dataset)))


def _spread(dataset: ImageSet) -> list[int]:
    indices = np.linspace(0, len(dataset) - 1, min(SAMPLED, len(dataset)))
    return [int(index) for index in indices.round()]


def _emit_repeats(
    train: ImageSet, dataset: ImageSet, split: str, chosen: Sequence[int], emit: Callable[[str], None]
) -> None:
    names = repeated_images(train, dataset, chosen)
    if names:
        emit(
            f"{len(names)} of {len(chosen)} {split} images are also training images ({few(names, 3)}): the score on "
            f"{split} does not measure how the network does on new images"
        )


def _described(split: str, dataset: ImageSet, report: LabelReport | None) -> str:
    if report is None:
        return f"{split}: {len(dataset)} images of {len(dataset.classes)} classes"
    total = sum(report.pixels) or 1
    shares = sorted(zip(dataset.classes.names, report.pixels, strict=True), key=lambda pair: -pair[1])
    by_class = ", ".join(f"{name} {100 * count / total:.2f}%" for name, count in shares)
    return f"{split}: {len(dataset)} images, void {100 * report.void / (total + report.void):.1f}%; {by_class}"
