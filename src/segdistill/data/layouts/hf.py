"""Tables of the Hugging Face library ``datasets``: as ``save_to_disk`` writes them, or parquet files as on the hub."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segdistill.data.classes import Classes
from segdistill.data.layouts.folder import read_classes
from segdistill.data.layouts.layout import SPLITS, DatasetCard, Layout, Split, Task
from segdistill.data.layouts.pairing import shown
from segdistill.errors import UserError

INSTALL = 'needs the package datasets: pip install "segdistill[all]"'

_NAMES = {"train": "train", "validation": "val", "val": "val", "valid": "val", "dev": "val", "test": "test"}
_LABEL_WORDS = ("label", "mask", "annotation", "segmentation")


@dataclass(frozen=True)
class Columns:
    """Which columns hold the items.

    Attributes:
        image: The images.
        label: Their masks, images too, or their class indices.
        classes: The names of the class indices; None for masks.
    """

    image: str
    label: str
    classes: tuple[str, ...] | None

    @property
    def task(self) -> Task:
        """What the labels are."""
        return "segmentation" if self.classes is None else "classification"


def open_hf(root: Path) -> Layout:
    """Find the tables of each split; the first one's features tell the columns, the task and the classes.

    Masks have the classes of an optional classes.json, as in dataset ``folder``.
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
    """Find the image and its label by their types: two images are an image and its mask.

    Args:
        features: Each column's type, as ``datasets`` writes it.
        root: For messages.

    Raises:
        UserError: If they are not there or several could be meant.
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
    """The folder of each split; ``save_to_disk`` writes dataset_info.json and state.json into each."""
    folders = (
        path.parent for path in sorted(root.glob("*/dataset_info.json")) if (path.parent / "state.json").exists()
    )
    return {_NAMES[folder.name]: [folder] for folder in folders if folder.name in _NAMES}


def _parquet(root: Path) -> dict[str, list[Path]]:
    """The files of each split, named as in train-00000-of-00002.parquet or train/0000.parquet."""
    tables: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*.parquet")):
        for name in (path.stem.split("-")[0], path.parent.name):
            if name in _NAMES:
                tables.setdefault(_NAMES[name], []).append(path)
                break
    return tables


def _features(table: Path) -> Mapping[str, Any]:
    try:
        found = _description(table)
    except (OSError, ValueError, RecursionError) as error:  # Arrow's own errors are ValueErrors
        raise UserError(f"cannot read '{table}': {str(error).splitlines()[0]}; copy it again") from None
    features = found.get("features") if isinstance(found, Mapping) else None
    if not isinstance(features, Mapping):
        raise UserError(f"'{table}' does not say what its columns are; write it with datasets' save_to_disk")
    return features


def _description(table: Path) -> Any:
    """Return what datasets wrote of a table."""
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
