"""Measurements for a report: frequencies of the classes, time of an image, images on which networks differ most."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from segdistill.data import SegmentationDataset, scan_labels
from segdistill.evaluation.changed_images import KEPT, LOOKED_AT, most_changed
from segdistill.evaluation.cost import of_image_or_window
from segdistill.evaluation.latency import REPEATS, latencies
from segdistill.reports.html.content import ALONE, TEACHER
from segdistill.reports.html.data import Measured
from segdistill.reports.html.pictures import Scene
from segdistill.training.run_networks import trained_networks
from segdistill.training.session import Session

# Seconds that the predictions for pictures may take. On a slow machine, fewer images are looked at.
SECONDS = 120.0

# The number of training masks that are counted, spread evenly.
COUNTED = 500


def measure(session: Session, students: Mapping[str, Path], folder: Path, *, counts: bool = True) -> Measured:
    """Measure what a report shows in addition to the records.

    Args:
        session: The opened recipe.
        students: The folders of the students to show, by name; the student alone first if it is there.
        folder: The folder that holds the trained teacher, if the recipe trains one.
        counts: Whether to count the classes of the training labels.

    Raises:
        UserError: The data set or a student cannot be read.
    """
    dataset = session.dataset(session.final_split)
    networks, teacher, problem = trained_networks(session, students, folder, dataset.classes)
    if teacher is not None:
        networks[TEACHER] = teacher
    missing = (f"The teacher is not in the pictures: {problem}",) if problem else ()
    is_classified = not isinstance(dataset, SegmentationDataset)
    height, width = session.recipe.data.crop if is_classified else dataset[0][0].shape[-2:]
    device, protocol = session.fabric.device, session.recipe.evaluation
    times, timed = of_image_or_window(lambda size: latencies(networks, size, device), (height, width), protocol.window)
    images = max(KEPT, min(LOOKED_AT, int(1000 * SECONDS / max(sum(times.values()), 1.0))))
    scenes: tuple[Scene, ...] = ()
    if isinstance(dataset, SegmentationDataset):
        scenes = most_changed(
            networks,
            dataset,
            session.fabric,
            session.recipe.data,
            protocol,
            students=list(students),
            reference=ALONE if ALONE in students else None,
            looked_at=images,
        )
    return Measured(
        pixels=_class_pixels(session) if counts else {},
        milliseconds=times,
        timed=_timed(device, *timed),
        classes=None if is_classified else dataset.classes,
        scenes=scenes,
        shown=_shown(images, len(dataset), session.final_split, len(students)),
        missing=("Pictures are drawn for segmentation only.",) if is_classified else missing,
    )


def _class_pixels(session: Session) -> dict[str, int]:
    dataset = session.dataset("train")
    if not isinstance(dataset, SegmentationDataset):
        return session.class_pixels()
    chosen = np.linspace(0, len(dataset) - 1, min(COUNTED, len(dataset))).round().astype(int)
    return dict(zip(dataset.classes.names, scan_labels(dataset, map(int, chosen)).pixels, strict=True))


def _timed(device: torch.device, height: int, width: int) -> str:
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    else:
        threads = torch.get_num_threads()
        where = f"the CPU with {threads} thread{'s' if threads != 1 else ''}"
    return (
        f"Time: median of up to {REPEATS} forward passes of one image of {height}x{width} in float32 on {where}, "
        "measured for this report on the machine that wrote it."
    )


def _shown(looked_at: int, images: int, split: str, students: int) -> str:
    looked_at = min(looked_at, images)
    few = f"{looked_at} of {images} images of {split}, spread evenly"
    of = few if looked_at < images else f"the {images} images of {split}"
    what = "the mean IoU of the students differs most" if students > 1 else "the student is furthest from the labels"
    return (
        f"The {min(KEPT, looked_at)} images on which {what}, of {of}; the most changed first. "
        "The numbers are the mean IoU of the image in percent, over the classes in its labels."
    )
