"""Open a dataset by name."""

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
    """Open one split of a dataset; see :data:`~segdistill.data.layouts.DATASET_CARDS` for names and layouts.

    Where no classes.json names the classes of a ``folder``, or of masks in ``hf``, they are counted in the masks of all
    splits, and what was found is logged; so is which was there where a release offers a choice, of lists for instance.

    Args:
        name: One of :data:`~segdistill.data.layouts.DATASETS`.
        root: The folder that holds it; None for generated data.
        split: "train", "val" or "test".
        scale, cache: See :class:`~segdistill.data.datasets.base.ImageDataset`.
        native_labels: See :class:`SegmentationDataset`; means nothing for classification.
        share: See :func:`~segdistill.data.layouts.open_layout`.

    Returns:
        A :class:`SegmentationDataset` or, for image classification, a
        :class:`~segdistill.data.datasets.base.ClassificationDataset`; ``task`` tells which.

    Raises:
        UserError: If the files are not as the layout says. Damaged files are found when they are read.
    """
    layout = open_layout(name, root, share)
    source = layout.split(split).source  # a missing split is an error before any mask is read
    if source:
        _say(f"{name} {split}: {source}")
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
def _say(line: str) -> None:
    """Log a line, the first time."""
    _log.info(line)


def _open_table(
    layout: Layout, split: str, *, scale: float | None, native_labels: bool, cache: bool
) -> SegmentationDataset | ClassificationDataset:
    table = SavedTable(layout, split)
    if layout.task == "classification":
        assert layout.classes is not None  # the label column names them
        return TableClasses(table, layout.classes, scale=scale, cache=cache)
    classes = layout.classes or inferred_classes(layout)
    return TableMasks(table, layout, classes, scale=scale, native_labels=native_labels, cache=cache)
