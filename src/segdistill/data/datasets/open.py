"""Data sets opened by name."""

import logging
from dataclasses import replace
from functools import cache as remember
from pathlib import Path
from typing import Any

import torch

from segdistill.data.caches import Cache
from segdistill.data.datasets.base import ClassificationDataset, SegmentationDataset
from segdistill.data.datasets.image_files import ClassFolders, MaskFiles
from segdistill.data.datasets.saved_tables import SavedTable, TableClasses, TableMasks
from segdistill.data.decoded.cache import attach, decoded_path, default_folder, prepare
from segdistill.data.decoding.black_and_white import with_black_and_white
from segdistill.data.generated.scenes import Scenes
from segdistill.data.generated.shapes import Shapes
from segdistill.data.layouts import Layout, open_layout
from segdistill.data.statistics.inferred_classes import inferred_classes
from segdistill.errors import UserError

GENERATED = ("scenes", "shapes")

_log = logging.getLogger(__name__)


def open_dataset(
    name: str,
    root: str | Path | None = None,
    split: str = "train",
    *,
    scale: float | None = None,
    native_labels: bool = False,
    cache: Cache = False,
    cache_folder: str | Path | None = None,
    share: float | None = None,
) -> SegmentationDataset | ClassificationDataset:
    """Return one split of a data set; :data:`~segdistill.data.layouts.DATASET_CARDS` lists names and layouts.

    Without a classes.json, the classes of a ``folder``, or of masks in ``hf``, are inferred from the masks of all
    splits and logged. If a release offers alternatives (for example several lists of images), the chosen one is logged.

    Args:
        name: One of :data:`~segdistill.data.layouts.DATASETS`.
        root: The data set's folder; None for generated data.
        split: "train", "val" or "test".
        scale, cache: See :class:`~segdistill.data.datasets.base.ImageDataset`.
        native_labels: See :class:`SegmentationDataset`; ignored for classification.
        cache_folder: For "memmap", the folder of the file of decoded images; None for ``segdistill_cache`` in ``root``.
            The file is written now, unless it is up to date.
        share: See :func:`~segdistill.data.layouts.open_layout`.

    Returns:
        A :class:`SegmentationDataset` or a :class:`~segdistill.data.datasets.base.ClassificationDataset`. Its attribute
        ``task`` tells which.

    Raises:
        UserError: If the files do not follow the layout. Damaged files raise when they are read.
    """
    layout = open_layout(name, root, share)
    layout.split(split)  # a missing split is an error before any mask is read
    folder = cache_folder if cache_folder is not None or root is None else default_folder(root)
    options: dict[str, Any] = {"scale": scale, "native_labels": native_labels, "cache": cache, "cache_folder": folder}
    dataset = open_split(with_classes(layout), split, **options)
    if cache == "memmap":
        prepare(dataset, f"{name} {split}", _log.info, torch.device("cpu"))
    return dataset


def with_classes(layout: Layout) -> Layout:
    """Return the layout with its classes, inferred from the values in all masks if no file names them.

    Raises:
        UserError: If the values in the masks are not 0, 1, ... without a gap, or a mask is damaged.
    """
    if layout.name in GENERATED:
        return layout
    layout = with_black_and_white(layout)
    return layout if layout.classes is not None else replace(layout, classes=inferred_classes(layout))


def open_split(
    layout: Layout,
    split: str,
    *,
    scale: float | None = None,
    native_labels: bool = False,
    cache: Cache = False,
    cache_folder: str | Path | None = None,
    size: tuple[int, int] | None = None,
    length: int | None = None,
) -> SegmentationDataset | ClassificationDataset:
    """Return one split of a layout that has classes; see :func:`open_dataset`.

    A file of decoded images is used if it is up to date, and not written.

    Args:
        layout: The result of :func:`with_classes`.
        split: "train", "val" or "test".
        scale, native_labels, cache: As for :func:`open_dataset`.
        cache_folder: The folder of decoded images, for "memmap".
        size, length: The height and width of generated images, and their number.

    Raises:
        UserError: If the layout has no such split, or "memmap" is asked of generated images, which have no files.
    """
    if source := layout.split(split).source:
        _log_once(f"{layout.name} {split}: {source}")
    if cache == "memmap" and (layout.name in GENERATED or cache_folder is None):
        raise UserError(
            f"data.cache=memmap is for images in files, and '{layout.name}' has none; use data.cache=memory"
        )
    options: dict[str, Any] = {key: value for key, value in (("size", size), ("length", length)) if value is not None}
    if layout.name == "shapes":
        return Shapes(split, scale=scale, cache=cache, **options)
    if layout.name == "scenes":
        return Scenes(split, scale=scale, native_labels=native_labels, cache=cache, **options)
    dataset = _of_files(layout, split, scale=scale, native_labels=native_labels, cache=cache)
    if cache == "memmap":
        dataset.decoded_path = decoded_path(layout, split, dataset, Path(str(cache_folder)).expanduser())
        attach(dataset)
    return dataset


def _of_files(
    layout: Layout, split: str, *, scale: float | None, native_labels: bool, cache: Cache
) -> SegmentationDataset | ClassificationDataset:
    classes = layout.classes
    assert classes is not None, "call with_classes() first"
    if layout.name == "hf":
        table = SavedTable(layout, split)
        if layout.task == "classification":
            return TableClasses(table, classes, scale=scale, cache=cache)
        return TableMasks(table, layout, classes, scale=scale, native_labels=native_labels, cache=cache)
    if layout.task == "classification":
        return ClassFolders(layout, split, classes, scale=scale, cache=cache)
    return MaskFiles(layout, split, classes, scale=scale, native_labels=native_labels, cache=cache)


@remember
def _log_once(line: str) -> None:
    """Log a line once per process."""
    _log.info(line)
