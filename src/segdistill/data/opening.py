"""Open a dataset by name."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache as remember
from pathlib import Path

import numpy as np

from segdistill.data.classes import VOID, Classes
from segdistill.data.datasets import ClassificationDataset, SegmentationDataset
from segdistill.data.from_files import ClassFolders, MaskFiles
from segdistill.data.layouts import Layout, open_layout
from segdistill.data.masks import read_values
from segdistill.data.reading import reading_threads
from segdistill.data.scenes import Scenes
from segdistill.data.shapes import Shapes
from segdistill.errors import UserError

_log = logging.getLogger(__name__)


def open_dataset(
    name: str,
    root: str | Path | None = None,
    split: str = "train",
    *,
    scale: float | None = None,
    native_labels: bool = False,
    cache: bool = False,
) -> SegmentationDataset | ClassificationDataset:
    """Open one split of a dataset; see :data:`~segdistill.data.layouts.CARDS` for names and layouts.

    A ``folder`` without classes.json has its classes counted in the masks of all splits, and logs what it
    found. Where a release offers a choice, of lists for instance, it logs which was there.

    Args:
        name: One of :data:`~segdistill.data.layouts.DATASETS`.
        root: The folder that holds it; None for generated data.
        split: "train", "val" or "test".
        scale, cache: See :class:`~segdistill.data.datasets.ImageDataset`.
        native_labels: See :class:`SegmentationDataset`; means nothing for classification.

    Returns:
        A :class:`SegmentationDataset` or, for image classification, a
        :class:`~segdistill.data.datasets.ClassificationDataset`; ``task`` tells which.

    Raises:
        UserError: If the files are not as the layout says. Damaged files are found when they are read.
    """
    layout = open_layout(name, root)
    source = layout.split(split).source  # a missing split is an error before any mask is read
    if source:
        _say(f"{name} {split}: {source}")
    if name == "shapes":
        return Shapes(split, scale=scale, cache=cache)
    if name == "scenes":
        return Scenes(split, scale=scale, native_labels=native_labels, cache=cache)
    classes = layout.classes or _classes_in_masks(layout)
    if layout.task == "classification":
        return ClassFolders(layout, split, classes, scale=scale, cache=cache)
    return MaskFiles(layout, split, classes, scale=scale, native_labels=native_labels, cache=cache)


@remember
def _say(line: str) -> None:
    """Log a line, the first time."""
    _log.info(line)


@remember
def _classes_in_masks(layout: Layout) -> Classes:
    """Number the classes by the values that occur in the masks, which must be 0..n without a gap."""
    masks = [path for split in layout.splits for path in split.labels]
    with ThreadPoolExecutor(reading_threads()) as pool:
        values = set[int]().union(*pool.map(lambda path: np.unique(read_values(path)).tolist(), masks))
    found = sorted(values - {VOID})
    root = os.path.commonpath(masks)
    if found != list(range(max(2, len(found)))):
        shown = ", ".join(map(str, found[:12])) + (", ..." if len(found) > 12 else "")
        raise UserError(
            f"the masks under '{root}' hold the values {shown or 'none'} besides {VOID} (void); expected "
            "class indices 0, 1, ... without a gap: convert them, or name the classes in classes.json"
        )
    _log.warning("no classes.json: %d masks under '%s' hold classes 0..%d", len(masks), root, found[-1])
    return Classes(tuple(f"class {index}" for index in found))
