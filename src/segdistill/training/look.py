"""Look at the data of a run before its first step: labels, images, and whether the splits can say anything."""

from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console

from segdistill.data import SegmentationDataset, scan_labels
from segdistill.data.generated.base import Generated
from segdistill.data.statistics.repeats import repeated_images
from segdistill.data.statistics.scan import LabelReport, absent_classes, check_classes, check_images
from segdistill.errors import UserError
from segdistill.evaluation.scoring import ImageSet
from segdistill.training.session import Session

# So many images of a split are looked at before training; `segdistill doctor` looks at all and decodes them.
SAMPLED = 500


def look_at_data(session: Session, console: Console) -> None:
    """Look at a sample of the data before anything is trained; see :func:`look`."""
    look(session, lambda line: console.print(line, soft_wrap=True))


def look(session: Session, say: Callable[[str], None], *, thoroughly: bool = False) -> None:
    """Look at every split that a run uses: training, validation, and what results are reported on.

    Args:
        session: The opened recipe.
        say: Takes a line: what is worth knowing and no reason to stop and, when thorough, what each split holds.
        thoroughly: Look at all masks instead of a sample, and decode every image.

    Raises:
        UserError: Labels or images that cannot be used, a class that nothing can be learned of, a split without any
            label.
    """
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
        check_images(dataset, chosen, decodes=thoroughly)
        if thoroughly:
            say(_described(split, dataset, report))
        if is_certain:
            continue
        if isinstance(dataset, SegmentationDataset) and report is not None:
            _check_labelled(dataset, split, report)
        if split == "train" and not session.recipe.data.allow_empty_classes:
            check_classes(dataset, absent_classes(dataset, report, chosen))
        if split != "train":
            _say_repeats(sets["train"], dataset, split, chosen, say)


def _check_labelled(dataset: SegmentationDataset, split: str, sample: LabelReport) -> None:
    if not any(sample.pixels) and not any(scan_labels(dataset).pixels):
        raise UserError(
            f"{split} has no labelled pixel, every mask is void throughout: nothing can be learned from it or scored "
            'on it; correct its masks, or "ignore_index" in classes.json'
        )


def _all(dataset: ImageSet) -> list[int]:
    return list(range(len(dataset)))


def _spread(dataset: ImageSet) -> list[int]:
    places = np.linspace(0, len(dataset) - 1, min(SAMPLED, len(dataset)))
    return [int(place) for place in places.round()]


def _say_repeats(
    train: ImageSet, dataset: ImageSet, split: str, chosen: Sequence[int], say: Callable[[str], None]
) -> None:
    names = repeated_images(train, dataset, chosen)
    if names:
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        say(
            f"{len(names)} of {len(chosen)} {split} images are training images, too ({shown}): the score on {split} "
            "does not tell how the network does on new ones"
        )


def _described(split: str, dataset: ImageSet, report: LabelReport | None) -> str:
    if report is None:
        return f"{split}: {len(dataset)} images of {len(dataset.classes)} classes"
    total = sum(report.pixels) or 1
    shares = sorted(zip(dataset.classes.names, report.pixels, strict=True), key=lambda pair: -pair[1])
    said = ", ".join(f"{name} {100 * count / total:.2f}%" for name, count in shares)
    return f"{split}: {len(dataset)} images, void {100 * report.void / (total + report.void):.1f}%; {said}"
