"""What is found in the data before the first step, and only by the doctor."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from rich.console import Console

from segdistill.errors import UserError
from segdistill.jobs.checks import check_layout, layout_of_run
from segdistill.recipes import load
from segdistill.training.look import look
from segdistill.training.run import distill
from segdistill.training.session import Session
from tests.tiny import tiny


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of noise: three splits, labels 0 and 1."""
    rng = np.random.default_rng(0)
    root = tmp_path / "set"
    for split in ("train", "val", "test"):
        for i in range(3):
            for kind, values in (
                ("images", rng.integers(0, 255, (32, 40, 3))),
                ("labels", rng.integers(0, 2, (32, 40))),
            ):
                path = root / kind / split / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(values.astype(np.uint8)).save(path)
    (root / "classes.json").write_text(json.dumps({"classes": ["a", "b"], "ignore_index": 7}))
    return root


def seen(root: Path, *changes: str, thoroughly: bool = False) -> list[str]:
    lines: list[str] = []
    recipe = load("folder", [f"data.root={root}", *changes])
    look(Session(recipe), lines.append, thoroughly=thoroughly)
    return lines


def void(root: Path, split: str) -> None:
    for path in (root / "labels" / split).iterdir():
        Image.fromarray(np.full((32, 40), 7, np.uint8)).save(path)


def test_nothing_is_said_of_good_data_and_everything_by_the_doctor(images: Path) -> None:
    assert seen(images) == []
    assert [line.split(":")[0] for line in seen(images, thoroughly=True)] == ["train", "val", "test"]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_split_that_is_used_is_looked_at(images: Path, split: str) -> None:
    path = images / "labels" / split / "1.png"
    Image.fromarray(np.full((32, 40), 9, np.uint8)).save(path)
    with pytest.raises(UserError, match=rf"1 of 3 masks .*{split}/1\.png' has label 9"):
        seen(images)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_without_a_label_is_an_error(images: Path, split: str) -> None:
    void(images, split)
    with pytest.raises(UserError, match=f"{split} has no labeled pixel"):
        seen(images, "data.allow_empty_classes=true")


def test_a_class_without_a_training_pixel_is_an_error_that_a_key_lifts(images: Path) -> None:
    (images / "classes.json").write_text(json.dumps({"classes": ["a", "b", "c"]}))
    with pytest.raises(UserError, match=r"1 of 3 classes have no pixel .*'c'; .* data\.allow_empty_classes=true"):
        seen(images)
    assert seen(images, "data.allow_empty_classes=true", "evaluation.absent=zero") == []


def test_a_class_without_a_pixel_in_a_scored_split_is_told(images: Path) -> None:
    for path in (images / "labels" / "val").iterdir():
        Image.fromarray(np.zeros((32, 40), np.uint8)).save(path)
    (line,) = seen(images)
    assert line.startswith("val has no pixel of b: such a class counts as 0 for a network that predicts it")
    assert line in seen(images, thoroughly=True)
    assert seen(images, "evaluation.absent=zero") == []


def test_a_truncated_image_is_found_by_the_doctor(images: Path) -> None:
    png, path = images / "images/test/2.png", images / "images/test/2.jpg"
    Image.open(png).save(path)
    png.unlink()
    path.write_bytes(path.read_bytes()[:-500])
    assert seen(images) == []  # its header is whole
    with pytest.raises(UserError, match=r"1 of 3 images cannot be used: cannot read '.*test/2\.jpg'"):
        seen(images, thoroughly=True)


def test_an_image_without_a_header_is_found_before_training(images: Path) -> None:
    (images / "images/val/0.png").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"val/0\.png': not an image"):
        seen(images)


def test_validation_images_that_are_training_images_are_said(images: Path) -> None:
    (images / "images/val/1.png").write_bytes((images / "images/train/2.png").read_bytes())
    (line,) = seen(images)
    assert line.startswith("1 of 3 val images are also training images (1)")


def test_a_run_keeps_how_its_folder_was_split(images: Path, tmp_path: Path, console: Console) -> None:
    flat = tmp_path / "flat"
    for kind in ("images", "labels"):
        (flat / kind).mkdir(parents=True)
        for split in ("train", "val", "test"):
            for path in (images / kind / split).iterdir():
                path.rename(flat / kind / f"{split}{path.name}")
    changes = ("data.name=folder", f"data.root={flat}", "data.split=0.8", "method=none")
    distill(tiny(*changes), tmp_path / "run", console=console)
    split = json.loads((tmp_path / "run/split.json").read_text())
    assert {name: len(stems) for name, stems in split.items()} == {"train": 7, "val": 2}
    assert not set(split["train"]) & set(split["val"])
    add(flat, "an_image_whose_name_is_first")
    recipe = load(tmp_path / "run" / "recipe.yaml")
    drawn = {name: [image.stem for image in check_layout(recipe).split(name).images] for name in split}
    assert set(drawn["val"]) & set(split["train"])  # what would be scored without the record
    layout = layout_of_run(tmp_path / "run", recipe)
    assert {name: [image.stem for image in layout.split(name).images] for name in split} == split
    assert [mask.stem for mask in layout.split("val").labels] == split["val"]
    (flat / "images" / f"{split['train'][0]}.png").unlink()
    (flat / "labels" / f"{split['train'][0]}.png").unlink()
    with pytest.raises(UserError, match=f"has changed since the run: {split['train'][0]} of its images cannot be"):
        layout_of_run(tmp_path / "run", recipe)
    for stem in (*split["train"][1:], *split["val"]):
        for kind in ("images", "labels"):
            (flat / kind / f"{stem}.png").rename(flat / kind / f"new_{stem}.png")
    assert layout_of_run(tmp_path / "run", recipe) == check_layout(recipe)  # other images


def add(folder: Path, name: str) -> None:
    """Copy the first pair of a flat folder."""
    for kind in ("images", "labels"):
        first = min((folder / kind).iterdir())
        shutil.copy(first, folder / kind / f"{name}{first.suffix}")


@pytest.mark.parametrize("thoroughly", [False, True])
def test_turned_images_are_counted_in_one_line(images: Path, thoroughly: bool) -> None:
    """Upside down, an image has the size of its mask all the same."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    for name in ("train/0.png", "train/2.png", "val/1.png"):
        with Image.open(images / "images" / name) as picture:
            picture.save(images / "images" / name, exif=exif)
    lines = [line for line in seen(images, thoroughly=thoroughly) if "upright" in line]
    assert lines == ["3 of 9 images are turned upright by their EXIF orientation; their masks must be upright too"]
