import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from segdistill.data import class_frequencies, open_dataset, open_layout, scan_labels
from segdistill.data.layouts.hf import find_columns
from segdistill.data.statistics.scan import check_images
from segdistill.errors import UserError

IMAGE, CLASS = {"_type": "Image"}, {"_type": "ClassLabel", "names": ["cat", "dog"]}
LENGTHS = {"train": 3, "validation": 2}


def gray(value: int) -> Image.Image:
    return Image.fromarray(np.full((4, 6, 3), value, np.uint8))


def mask(values: object = 0) -> Image.Image:
    return Image.fromarray(np.broadcast_to(np.asarray(values, dtype=np.uint8), (4, 6)).copy())


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    return datasets


@pytest.fixture
def masks(library: Any) -> Any:
    """A DatasetDict of images that are ``i`` gray with masks that are ``i`` throughout, and a column of no use."""
    features = library.Features(
        {"id": library.Value("string"), "annotation": library.Image(), "photo": library.Image()}
    )
    return library.DatasetDict(
        {
            split: library.Dataset.from_dict(
                {
                    "id": [f"{split}{i}" for i in range(length)],
                    "annotation": [mask(i) for i in range(length)],
                    "photo": [gray(i) for i in range(length)],
                },
                features=features,
            )
            for split, length in LENGTHS.items()
        }
    )


@pytest.fixture
def animals(library: Any) -> Any:
    """A DatasetDict of images that are ``i`` gray with the class ``i`` modulo 2."""
    features = library.Features({"image": library.Image(), "label": library.ClassLabel(names=["cat", "dog"])})
    return library.DatasetDict(
        {
            split: library.Dataset.from_dict(
                {"image": [gray(i) for i in range(length)], "label": [i % 2 for i in range(length)]}, features=features
            )
            for split, length in LENGTHS.items()
        }
    )


def test_masks_with_a_palette_each(masks: Any, tmp_path: Path) -> None:
    """An optimizer stored the labels 0, 1 and 2 as index 0 of three palettes."""

    def optimized(row: dict[str, Any]) -> dict[str, Any]:
        picture = Image.new("P", (6, 4), 0)
        picture.putpalette([int(np.max(row["annotation"]))] * 3)
        return {"annotation": picture}

    masks.map(optimized).save_to_disk(str(tmp_path))
    with pytest.raises(UserError, match="'row 1, column annotation of split train .* show index 0 in two colors"):
        open_dataset("hf", tmp_path)
    (tmp_path / "classes.json").write_text(json.dumps({"classes": ["a", "b", "c"]}))
    report = scan_labels(open_dataset("hf", tmp_path))
    assert len(report.problems) == 2
    assert "row 2, column annotation" in report.problems[1]


def test_images_in_tables_are_checked(masks: Any, tmp_path: Path) -> None:
    def turned(row: dict[str, Any]) -> dict[str, Any]:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 3
        content = io.BytesIO()
        row["photo"].save(content, "PNG", exif=exif)
        is_damaged = row["id"] == "validation1"
        return {"photo": {"bytes": content.getvalue()[: 40 if is_damaged else None], "path": None}}

    masks.map(turned).save_to_disk(str(tmp_path))
    assert check_images(open_dataset("hf", tmp_path), range(3), decodes=False) == 3
    with pytest.raises(UserError, match="1 of 2 images cannot be used: cannot read 'row 1, column photo of split val"):
        check_images(open_dataset("hf", tmp_path, "val"), range(2), decodes=True)


def test_masks_that_were_saved(masks: Any, tmp_path: Path) -> None:
    masks.save_to_disk(str(tmp_path))
    (tmp_path / "classes.json").write_text(json.dumps({"classes": ["a", "b", "c"], "ignore_index": 1}))
    layout = open_layout("hf", tmp_path)
    assert (layout.name, layout.task, layout.void) == ("hf", "segmentation", 1)
    assert [split.name for split in layout.splits] == ["train", "val"]
    data = open_dataset("hf", tmp_path)
    assert (len(data), data.task, data.classes.names) == (3, "segmentation", ("a", "b", "c"))
    assert (data.name(2), data.path(2)) == ("train_00002", None)
    image, labels = data[2]
    assert (image.shape, image.dtype, image.unique().tolist()) == ((3, 4, 6), torch.uint8, [2])
    assert (labels.shape, labels.dtype, labels.unique().tolist()) == ((4, 6), torch.uint8, [2])
    assert data[1][1].unique().tolist() == [255]
    found = class_frequencies(data)
    assert (found.counts, found.images, found.void) == ((24, 0, 24), (1, 0, 1), 24)
    scaled = open_dataset("hf", tmp_path, "val", scale=0.5, native_labels=True)[0]
    assert (scaled[0].shape, scaled[1].shape) == ((3, 2, 3), (4, 6))


def test_masks_tell_the_classes(masks: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    masks.save_to_disk(str(tmp_path))
    with caplog.at_level(logging.WARNING):
        data = open_dataset("hf", tmp_path, "val")
    assert data.classes.names == ("class 0", "class 1", "class 2")
    assert "5 masks" in caplog.text


def test_classes_that_were_saved(animals: Any, tmp_path: Path) -> None:
    animals.save_to_disk(str(tmp_path))
    layout = open_layout("hf", tmp_path)
    assert (layout.task, layout.classes.names) == ("classification", ("cat", "dog"))
    data = open_dataset("hf", tmp_path)
    assert (data.task, len(data), [data.label(i) for i in range(3)]) == ("classification", 3, [0, 1, 0])
    image, label = data[1]
    assert (image.unique().tolist(), int(label), label.dtype) == ([1], 1, torch.int64)
    assert class_frequencies(data).counts == (2, 1)


@pytest.mark.parametrize("name", ["data/{}-00000-of-00001.parquet", "{}/0000.parquet", "{}.parquet"])
def test_parquet_as_on_the_hub(masks: Any, tmp_path: Path, name: str) -> None:
    root = tmp_path / "copy"
    for split, table in masks.items():
        path = root / name.format(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(str(path))
    (root / "classes.json").write_text(json.dumps({"classes": ["a", "b", "c"]}))
    assert [split.name for split in open_layout("hf", root).splits] == ["train", "val"]
    data = open_dataset("hf", root)
    assert len(data) == 3
    assert data[2][0].unique().tolist() == data[2][1].unique().tolist() == [2]


def test_what_is_wrong_with_a_row_is_said(masks: Any, tmp_path: Path) -> None:
    rows = {
        "annotation": [mask(7), Image.new("L", (3, 3)), Image.new("RGB", (6, 4), (1, 2, 3))],
        "photo": [gray(0)] * 3,
    }
    masks["train"] = masks["train"].from_dict(rows, features=masks["train"].select_columns(list(rows)).features)
    masks.save_to_disk(str(tmp_path))
    (tmp_path / "classes.json").write_text(json.dumps({"classes": ["a", "b"]}))
    data = open_dataset("hf", tmp_path)
    with pytest.raises(UserError, match=r"'row 0, column annotation of split train in .*' has label 7 in 24 pixels"):
        data[0]
    with pytest.raises(UserError, match=r"mask 'row 1, .*' is 3x3 but its image 'row 1, column photo .*' is 6x4"):
        data[1]
    with pytest.raises(UserError, match=r"mask 'row 2, .*' holds colors"):
        data[2]
    assert len(scan_labels(data).problems) == 3


def test_empty_and_outside_images(masks: Any, tmp_path: Path) -> None:
    gray(9).save(tmp_path / "outside.png")
    photos = [{"bytes": None, "path": str(tmp_path / "outside.png")}, None]
    rows = {"annotation": [mask(), mask()], "photo": photos}
    masks["train"] = masks["train"].from_dict(rows, features=masks["train"].select_columns(list(rows)).features)
    masks.save_to_disk(str(tmp_path / "set"))
    (tmp_path / "set/classes.json").write_text(json.dumps({"classes": ["a", "b"]}))
    data = open_dataset("hf", tmp_path / "set")
    assert data[0][0].unique().tolist() == [9]
    with pytest.raises(UserError, match=r"cannot read 'row 1, column photo of split train in .*': not an image"):
        data[1]


def test_a_split_without_labels(library: Any, animals: Any, tmp_path: Path) -> None:
    rows = {"image": [gray(0)] * 2, "label": [-1, -1]}
    animals["test"] = library.Dataset.from_dict(rows, features=animals["train"].features)
    animals.save_to_disk(str(tmp_path))
    assert len(open_dataset("hf", tmp_path, "val")) == 2
    with pytest.raises(UserError, match=r"split 'test' of '.*' has labels \['-1'\]; expected 0\.\.1"):
        open_dataset("hf", tmp_path, "test")


def test_a_damaged_table(animals: Any, tmp_path: Path) -> None:
    animals.save_to_disk(str(tmp_path))
    (arrow,) = (tmp_path / "train").glob("*.arrow")
    arrow.write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot read the split 'train' in '.*': ") as caught:
        open_dataset("hf", tmp_path)
    assert "\n" not in str(caught.value)


# What needs no library


def saved(root: Path, features: dict[str, Any]) -> Path:
    """The two files by which a saved split is known."""
    for split in ("train", "validation"):
        (root / split).mkdir()
        (root / split / "dataset_info.json").write_text(json.dumps({"features": features}))
        (root / split / "state.json").write_text("{}")
    return root


def test_the_layout_is_looked_at_without_the_library(tmp_path: Path) -> None:
    root = saved(tmp_path, {"image": IMAGE, "label": CLASS})
    code = (
        "import sys; from segdistill.data import open_layout\n"
        f"assert open_layout('hf', {str(root)!r}).classes.names == ('cat', 'dog')\n"
        "assert not {'torch', 'datasets', 'pyarrow', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r'needs the package datasets: pip install "segdistill\[all\]"'):
        open_dataset("hf", saved(tmp_path, {"image": IMAGE, "label": CLASS}))
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/train.parquet").write_bytes(b"")
    with pytest.raises(UserError, match=r'needs the package datasets: pip install "segdistill\[all\]"'):
        open_layout("hf", tmp_path / "copy")


def test_columns_by_type() -> None:
    found = find_columns({"photo": IMAGE, "annotation": IMAGE, "scene_category": CLASS}, Path())
    assert (found.image, found.label, found.classes, found.task) == ("photo", "annotation", None, "segmentation")
    found = find_columns({"id": {"_type": "Value"}, "fine": CLASS, "img": IMAGE, "boxes": [CLASS]}, Path())
    assert (found.image, found.label, found.classes) == ("img", "fine", ("cat", "dog"))


@pytest.mark.parametrize(
    "features",
    [
        {"image": IMAGE},
        {"label": CLASS},
        {"left": IMAGE, "right": IMAGE},
        {"mask": IMAGE, "label": IMAGE},
        {"image": IMAGE, "mask": IMAGE, "label": IMAGE},
        {"img": IMAGE, "fine": CLASS, "coarse": CLASS},
    ],
)
def test_columns_that_could_mean_anything(tmp_path: Path, features: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="has the image columns .* and the class columns .*; expected an") as caught:
        open_layout("hf", saved(tmp_path, features))
    assert all(name in str(caught.value) for name in features)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match=r"holds no splits that datasets' save_to_disk wrote .*; it holds images"):
        open_layout("hf", tmp_path)


@pytest.mark.parametrize("content", ["", "{", "null", "[]", '{"features": 3}', "[" * 100_000])
def test_a_description_that_is_none(content: str, tmp_path: Path) -> None:
    for split in ("train", "validation"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "state.json").write_text("{}")
        (tmp_path / split / "dataset_info.json").write_text(content)
    with pytest.raises(UserError, match=r"cannot read '.*train'.*copy it again|train' does not describe its columns"):
        open_layout("hf", str(tmp_path))


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "data").mkdir()
    for split in ("train", "validation"):
        (tmp_path / f"data/{split}-00000-of-00001.parquet").write_bytes(b"none")
    with pytest.raises(UserError, match=r"cannot read '.*train-00000-of-00001.parquet': Parquet .*; copy it again"):
        open_layout("hf", str(tmp_path))
