"""Tables of the Hugging Face library ``datasets``, from ``save_to_disk`` or as parquet files in the form of the hub."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segdistill.data.classes import Classes
from segdistill.data.layouts.folder import read_classes
from segdistill.data.layouts.layout import SPLIT_OF, SPLITS, DatasetCard, Layout, Split, Task
from segdistill.data.layouts.pairing import shown
from segdistill.errors import UserError
from segdistill.system.walk import files_below

INSTALL = 'needs the package datasets: pip install "segdistill[all]"'

_LABEL_WORDS = ("label", "mask", "annotation", "segmentation")


@dataclass(frozen=True)
class Columns:
    """The columns of a table that hold the items.

    Attributes:
        image: The name of the column of images.
        label: The name of the column of masks or of class indices.
        classes: The names of the classes; None for masks.
    """

    image: str
    label: str
    classes: tuple[str, ...] | None

    @property
    def task(self) -> Task:
        """The kind of labels."""
        return "segmentation" if self.classes is None else "classification"


def open_hf(root: Path) -> Layout:
    """Return the tables of each split. The features of the first table define the columns, the task and the classes.

    An optional classes.json gives the classes of masks, as in the data set ``folder``.
    """
    tables = _saved(root) or _parquet(root)
    if not tables:
        raise UserError(
            f"'{root}' holds no splits that datasets' save_to_disk wrote (train/dataset_info.json) and no parquet "
            f"files named by their split (data/train-00000-of-00001.parquet); it holds "
            f"{shown(entry.name for entry in root.iterdir())}"
        )
    columns = find_columns(_features(next(iter(tables.values()))[0]), root)
    splits = tuple(Split(split, tables=tuple(tables[split])) for split in SPLITS if split in tables)
    if columns.classes is not None:
        return Layout("hf", Classes(columns.classes), splits, task=columns.task)
    description = root / "classes.json"
    layout = read_classes(description, splits) if description.exists() else Layout("hf", None, splits)
    return replace(layout, name="hf")


def find_columns(features: Mapping[str, Any], root: Path) -> Columns:
    """Return the columns of the image and of its label, found by their types. Two images are an image and its mask.

    Args:
        features: The type of each column, as ``datasets`` writes it.
        root: The folder, for messages.

    Raises:
        UserError: If the columns are missing or ambiguous.
    """
    images = [name for name, feature in features.items() if _is_type(feature, "Image")]
    labels = [name for name, feature in features.items() if _is_type(feature, "ClassLabel")]
    masks = [name for name in images if any(word in name.lower() for word in _LABEL_WORDS)]
    if len(images) == 2 and len(masks) == 1:
        return Columns(next(name for name in images if name not in masks), masks[0], None)
    if len(images) == len(labels) == 1:
        return Columns(images[0], labels[0], tuple(features[labels[0]]["names"]))
    raise UserError(
        f"'{root}' has the image columns {shown(images)} and the class columns {shown(labels)}; expected an image and "
        "its mask, called label, mask, annotation or segmentation, or an image and one class: remove or rename columns"
    )


def _is_type(feature: object, name: str) -> bool:
    return isinstance(feature, Mapping) and feature.get("_type") == name


def _saved(root: Path) -> dict[str, list[Path]]:
    """Return the folder of each split. ``save_to_disk`` writes dataset_info.json and state.json into each."""
    folders = (
        path.parent for path in sorted(root.glob("*/dataset_info.json")) if (path.parent / "state.json").exists()
    )
    return {SPLIT_OF[folder.name]: [folder] for folder in folders if folder.name in SPLIT_OF}


def _parquet(root: Path) -> dict[str, list[Path]]:
    """Return the files of each split, which are named as in train-00000-of-00002.parquet or train/0000.parquet."""
    tables: dict[str, list[Path]] = {}
    for path in sorted(file for file in files_below(root) if file.suffix == ".parquet"):
        for name in (path.stem.split("-")[0], path.parent.name):
            if name in SPLIT_OF:
                tables.setdefault(SPLIT_OF[name], []).append(path)
                break
    return tables


def _features(table: Path) -> Mapping[str, Any]:
    try:
        description = _description(table)
    except (OSError, ValueError, RecursionError) as error:  # Arrow's errors are ValueErrors
        raise UserError(f"cannot read '{table}': {str(error).splitlines()[0]}; copy it again") from None
    features = description.get("features") if isinstance(description, Mapping) else None
    if not isinstance(features, Mapping):
        raise UserError(f"'{table}' does not describe its columns; write it with datasets' save_to_disk")
    return features


def _description(table: Path) -> Any:
    """Return the description of a table that ``datasets`` wrote."""
    if table.is_dir():
        return json.loads((table / "dataset_info.json").read_text(encoding="utf-8"))
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(f"dataset 'hf' {INSTALL}") from error
    metadata = parquet.read_schema(table).metadata or {}
    written = json.loads(metadata.get(b"huggingface", b"{}"))
    return written.get("info", {}) if isinstance(written, Mapping) else {}


CARD = DatasetCard(
    name="hf",
    about="images with masks or with classes in tables of the Hugging Face library datasets",
    source="your own, or a copy of a hub's repository; needs `pip install segdistill[all]`",
    terms="your own, or the hub's card",
    layout="""\
train/, validation/, test/           as DatasetDict.save_to_disk(data.root) writes them, or
data/train-00000-of-00001.parquet    parquet files named by their split, as on the hub
an image column and a column of masks (label, mask, annotation or segmentation) or of classes (ClassLabel)
classes.json                         optional, for masks: see folder""",
    open=open_hf,
    task=None,
)
