import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdistill.data import open_dataset, open_layout, scan_labels
from segdistill.data.datasets import open as opening
from segdistill.errors import UserError

VALUES = np.array([[*range(21), 255]], np.uint8)
COLOUR_MAP = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}


@pytest.fixture
def root(tmp_path: Path, write) -> Path:
    """VOC2012 with 2 images to train on, 1 to validate and 1 more that only the augmented list has."""
    opening._log_once.cache_clear()
    root = tmp_path / "VOCdevkit/VOC2012"
    for stem in ("2007_000032", "2007_000039", "2008_000002", "2009_000001"):
        write(root / f"JPEGImages/{stem}.jpg", np.zeros((1, 22, 3), np.uint8))
        write(root / f"SegmentationClass/{stem}.png", VALUES)
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_000039\n2007_000032\n")
    (lists / "val.txt").write_text("2008_000002\n\n")
    return root


def augment(root: Path, name: str, lines: str, write) -> None:
    """Add an augmented list, and masks that are 3 throughout."""
    (root / f"ImageSets/Segmentation/{name}.txt").write_text(lines)
    for stem in ("2007_000032", "2009_000001"):
        write(root / f"SegmentationClassAug/{stem}.png", 3, (1, 22))


def test_lists_choose_the_images(root: Path) -> None:
    layout = open_layout("voc", root)
    assert [path.stem for path in layout.split("train").images] == ["2007_000032", "2007_000039"]
    assert [path.name for path in layout.split("val").labels] == ["2008_000002.png"]
    assert len(layout.classes) == 21
    assert layout.classes.names[15] == "person"
    assert open_dataset("voc", root)[0][1].tolist() == VALUES.tolist()


@pytest.mark.parametrize("name", ["trainaug", "train_aug"])
@pytest.mark.parametrize(
    "lines",
    [
        "2009_000001\n2007_000032\n",
        "/JPEGImages/2009_000001.jpg /SegmentationClassAug/2009_000001.png\nJPEGImages/2007_000032.jpg x.png",
    ],
)
def test_augmented_list_goes_first_and_is_said(root: Path, write, caplog, name: str, lines: str) -> None:
    augment(root, name, lines, write)
    with caplog.at_level(logging.INFO):
        data = open_dataset("voc", root)
        open_dataset("voc", root)
    assert [data.name(i) for i in range(len(data))] == ["2007_000032", "2009_000001"]
    assert data[0][1].unique().tolist() == [3]
    assert caplog.messages == [f"voc train: {name}.txt with the masks in SegmentationClassAug"]  # once
    assert open_layout("voc", root).split("train").source == f"{name}.txt with the masks in SegmentationClassAug"
    val = open_layout("voc", root).split("val")
    assert (val.source, val.labels[0].parent.name) == (
        "val.txt with the masks in SegmentationClass",
        "SegmentationClass",
    )


def test_augmented_list_without_its_masks(root: Path) -> None:
    (root / "ImageSets/Segmentation/trainaug.txt").write_text("2007_000032\n2009_000009\n")
    (root / "JPEGImages/2009_000009.jpg").write_bytes((root / "JPEGImages/2007_000032.jpg").read_bytes())
    message = (
        r"1 of 2 names in '.*trainaug\.txt' have no mask in .*: 2009_000009\.png; .* belong in SegmentationClassAug"
    )
    with pytest.raises(UserError, match=message):
        open_layout("voc", root)


def test_name_without_image(root: Path) -> None:
    (root / "JPEGImages/2008_000002.jpg").unlink()
    with pytest.raises(
        UserError, match=r"1 of 1 names in '.*val\.txt' have no image in .*JPEGImages': 2008_000002\.jpg"
    ):
        open_layout("voc", root)


def test_lists_that_are_not_there_or_empty(root: Path) -> None:
    lists = root / "ImageSets/Segmentation"
    (lists / "val.txt").write_text("\n")
    with pytest.raises(UserError, match=r"val\.txt' is empty"):
        open_layout("voc", root)
    for path in lists.iterdir():
        path.unlink()
    (lists / "trainval.txt").write_text("2007_000032\n")
    with pytest.raises(UserError, match=r"holds no list .* val\.txt; it holds trainval\.txt"):
        open_layout("voc", root)


def test_a_list_with_a_byte_order_mark(root: Path) -> None:
    (root / "ImageSets/Segmentation/val.txt").write_text("2008_000002\n", encoding="utf-8-sig")
    assert [path.name for path in open_layout("voc", root).split("val").images] == ["2008_000002.jpg"]


def test_two_folders_too_high(root: Path) -> None:
    for folder in (root.parent, root.parent.parent):
        with pytest.raises(UserError, match=rf"did you mean '{root}'\?"):
            open_layout("voc", folder)
    with pytest.raises(UserError, match=r"set data\.name=voc"):
        open_layout("folder", root)


# Masks that a picture program went over


def colored(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.array([[COLOUR_MAP[value] for value in row] for row in values], np.uint8))


def test_vocs_colors_are_read_as_classes(root: Path) -> None:
    values = np.array([[0, 1, 2, 15, 20, 255, *[0] * 16]])
    colored(values).save(root / "SegmentationClass/2008_000002.png")
    assert open_dataset("voc", root, "val")[0][1].tolist() == values.tolist()


def test_a_palette_in_another_order_is_refused(root: Path) -> None:
    values = np.array([[20, 1, 2, 15, 0, 255, *[0] * 16]])
    path = root / "SegmentationClass/2008_000002.png"
    colored(values).convert("P", palette=Image.Palette.ADAPTIVE, colors=6).save(path)
    with Image.open(path) as picture:
        assert picture.mode == "P"
        assert np.asarray(picture).tolist() != values.tolist()  # the trap: 0..5 in the order of the palette
        assert np.asarray(picture).max() < 21
    message = r"2008_000002.png' has index 0 for \[\d+, \d+, \d+\], the color of (class .*|void); .* save it in RGB"
    with pytest.raises(UserError, match=message):
        open_dataset("voc", root, "val")[0]
    colored(values).save(path)
    assert open_dataset("voc", root, "val")[0][1].tolist() == values.tolist()


def test_a_palette_of_other_colors_does_not_matter(root: Path) -> None:
    picture = Image.frombytes("P", (22, 1), VALUES.tobytes())
    picture.putpalette([value for index in range(256) for value in (index, index, index)])
    picture.save(root / "SegmentationClass/2008_000002.png")
    assert open_dataset("voc", root, "val")[0][1].tolist() == VALUES.tolist()


def test_gray_conversion_is_refused(root: Path) -> None:
    colored(np.full((1, 22), 15)).convert("L").save(root / "SegmentationClass/2008_000002.png")
    with pytest.raises(UserError, match=r"2008_000002\.png' has label 147 in 22 pixels; expected 0\.\.20, or 255"):
        open_dataset("voc", root, "val")[0]


def test_real_photographs(shared: Path) -> None:
    root = shared / "layouts/voc/VOCdevkit/VOC2012"
    names = (root / "class_names.txt").read_text().split("\n")
    for split, present in (("train", {"bottle", "person", "chair", "sofa"}), ("val", {"bus", "car"})):
        data = open_dataset("voc", root, split)
        report = scan_labels(data)
        report.check()
        found = {names[index] for index, pixels in enumerate(report.pixels) if pixels}
        assert found == present | {"_background_"}
        for index in range(len(data)):
            with Image.open(data.split.labels[index]) as picture:
                assert data[index][1].tolist() == np.asarray(picture).tolist()


def test_real_masks_in_other_colors_are_refused(shared: Path) -> None:
    data = open_dataset("voc", shared / "layouts/voc_rgb_masks/VOCdevkit/VOC2012", "val")
    with pytest.raises(
        UserError, match=r"0115\.png' has colors \[128, 0, 192\], .* not among the colors of the classes"
    ):
        data[0]
    assert len(scan_labels(data).problems) == 8
