"""Open a data set by name."""

import logging
from functools import cache as remember
from pathlib import Path

from segdistill.data.datasets.base import ClassificationDataset, SegmentationDataset
from segdistill.data.datasets.image_files import ClassFolders, MaskFiles
from segdistill.data.datasets.saved_tables import SavedTable, TableClasses, TableMasks
from segdistill.data.decoding.black_and_white import with_black_and_white
from segdistill.data.generated.scenes import Scenes
from segdistill.data.generated.shapes import Shapes
from segdistill.data.layouts import Layout, open_layout
from segdistill.data.statistics.inferred_classes import inferred_classes

_log = logging.getLogger(__name__)


def open_dataset(
    name: str,
    root: str | Path | None = None,
    split: str = "train",
    *,
    scale: float | None = None,
    native_labels: bool = False,
    cache: bool = False,
    share: float | None = None,
) -> SegmentationDataset | ClassificationDataset:
    """Open one split of a data set; :data:`~segdistill.data.layouts.DATASET_CARDS` lists names and layouts.

    Without a classes.json, the classes of a ``folder``, or of masks in ``hf``, are inferred from the masks of all
    splits and logged. If a release offers alternatives (for example several lists of images), the chosen one is logged.

    Args:
        name: One of :data:`~segdistill.data.layouts.DATASETS`.
        root: The data set's folder; None for generated data.
        split: "train", "val" or "test".
        scale, cache: See :class:`~segdistill.data.datasets.base.ImageDataset`.
        native_labels: See :class:`SegmentationDataset`; ignored for classification.
        share: See :func:`~segdistill.data.layouts.open_layout`.

    Returns:
        A :class:`SegmentationDataset` or a :class:`~segdistill.data.datasets.base.ClassificationDataset`, as its
        attribute ``task`` tells.

    Raises:
        UserError: If the files do not follow the layout. Damaged files raise when they are read.
    """
    layout = open_layout(name, root, share)
    source = layout.split(split).source  # report a missing split before any mask is read
    if source:
        _log_once(f"{name} {split}: {source}")
    if name == "shapes":
        return Shapes(split, scale=scale, cache=cache)
    if name == "scenes":
        return Scenes(split, scale=scale, native_labels=native_labels, cache=cache)
    layout = with_black_and_white(layout)
    if name == "hf":
        return _open_table(layout, split, scale=scale, native_labels=native_labels, cache=cache)
    classes = layout.classes or inferred_classes(layout)
    if layout.task == "classification":
        return ClassFolders(layout, split, classes, scale=scale, cache=cache)
    return MaskFiles(layout, split, classes, scale=scale, native_labels=native_labels, cache=cache)


@remember
def _log_once(line: str) -> None:
    """Log a line unless it was logged before."""
    _log.info(line)


def _open_table(
    layout: Layout, split: str, *, scale: float | None, native_labels: bool, cache: bool
) -> SegmentationDataset | ClassificationDataset:
    table = SavedTable(layout, split)
    if layout.task == "classification":
        assert layout.classes is not None  # from the label column
        return TableClasses(table, layout.classes, scale=scale, cache=cache)
    classes = layout.classes or inferred_classes(layout)
    return TableMasks(table, layout, classes, scale=scale, native_labels=native_labels, cache=cache)
