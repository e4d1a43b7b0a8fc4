"""Black and white masks, a void class among the named ones, and classes that nothing is learned of."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdistill.data import Scenes, open_dataset, scan_labels
from segdistill.data.statistics.scan import absent_classes, check_classes
from segdistill.errors import UserError

OBJECT = np.zeros((6, 8), np.uint8)
OBJECT[:2] = 1


@pytest.fixture
def binary(folder: Path, write) -> Path:
    """Masks of 0 and 255, all of them; one holds 0 alone."""
    for number, path in enumerate(sorted(folder.glob("labels/*/*/*.png"))):
        write(path, 0 if number == 1 else OBJECT * 255)
    return folder


def describe(folder: Path, **entries: object) -> None:
    (folder / "classes.json").write_text(json.dumps(entries))


@pytest.mark.parametrize("named", [True, False])
def test_0_and_255_are_two_classes_and_that_is_said_once(
    binary: Path, named: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "segdistill")
    if named:
        describe(binary, classes=["ground", "building"])
    for split in ("train", "val", "train"):
        assert open_dataset("folder", binary, split)[0][1].tolist() == OBJECT.tolist()
    names = open_dataset("folder", binary).classes.names
    assert names == (("ground", "building") if named else ("class 0", "class 1"))
    assert [line for line in caplog.messages if "0 and 255" in line] == [
        f"masks under '{binary / 'labels'}' hold 0 and 255, never 1: 0 is read as '{names[0]}' and 255 as '{names[1]}'"
    ]
    assert absent_classes(open_dataset("folder", binary)) == ()


@pytest.mark.parametrize(
    ("palette", "white"), [([[0, 0, 0], [255] * 3], 1), ([[255] * 3, [0, 0, 0]], 0), ([[9] * 3, [8] * 3], 1)]
)
def test_a_black_and_white_palette_says_which_is_which(binary: Path, palette: list[list[int]], white: int) -> None:
    describe(binary, classes=["ground", "building"], palette=palette)
    assert open_dataset("folder", binary)[0][1].tolist() == (OBJECT if white else 1 - OBJECT).tolist()


def test_an_index_is_a_gray_value_in_black_and_white(binary: Path) -> None:
    """White is class 0. Index 0 is black, so it is class 1, unless its palette shows white."""
    describe(binary, classes=["building", "ground"], palette=[[255] * 3, [0, 0, 0]])
    picture = Image.new("P", (8, 6), 0)
    path = binary / "labels/train/town/train0.png"
    for gray in (0, 255):
        picture.putpalette([gray] * 3)
        picture.save(path)
        data = open_dataset("folder", binary)
        if gray == 0:
            assert data[0][1].unique().tolist() == [1]
        else:
            with pytest.raises(UserError, match="in which index 0 is gray 255: either can be the label"):
                data[0]


def test_another_void_value_stays_void(binary: Path, write) -> None:
    describe(binary, classes=["ground", "building"], ignore_index=254)
    write(binary / "labels/train/town/train0.png", np.where(np.arange(8) < 3, np.uint8(254), OBJECT * 255))
    labels = open_dataset("folder", binary)[0][1]
    assert labels[0].tolist() == [255, 255, 255, 1, 1, 1, 1, 1]
    assert labels[5].tolist() == [255, 255, 255, 0, 0, 0, 0, 0]


def test_one_mask_with_a_1_makes_indices_of_all(binary: Path, write) -> None:
    describe(binary, classes=["ground", "building"])
    write(binary / "labels/val/town/val1.png", OBJECT)
    assert open_dataset("folder", binary)[0][1].unique().tolist() == [0, 255]


def test_with_three_classes_255_is_void(binary: Path) -> None:
    describe(binary, classes=["a", "b", "c"])
    assert open_dataset("folder", binary)[0][1].unique().tolist() == [0, 255]


def test_void_that_is_given_as_255_stays_void_and_the_error_says_what_to_do(binary: Path) -> None:
    describe(binary, classes=["ground", "building"], ignore_index=255)
    data = open_dataset("folder", binary)
    assert data[0][1].unique().tolist() == [0, 255]
    with pytest.raises(
        UserError, match=r"1 of 2 classes have no pixel .*: 'building'; .* remove \"ignore_index\" from"
    ):
        check_classes(data, absent_classes(data))
    describe(binary, classes=["ground", "building"])  # the advice
    data = open_dataset("folder", binary)
    check_classes(data, absent_classes(data))


def test_a_mask_that_is_neither_is_named(binary: Path, write) -> None:
    describe(binary, classes=["ground", "building"])
    data = open_dataset("folder", binary)
    write(binary / "labels/train/town/train0.png", OBJECT * 128)
    with pytest.raises(UserError, match=r"train0\.png' has color \[128, 128, 128\] in 16 pixels"):
        data[0]


# Classes without a pixel


def test_absent_classes_are_looked_for_beyond_the_sample(folder: Path) -> None:
    describe(folder, classes=["a", "b", "c", "d"])  # image i is of class i
    data = open_dataset("folder", folder)
    assert absent_classes(data, scan_labels(data, [0]), [0]) == ("d",)
    assert absent_classes(data) == ("d",)
    with pytest.raises(UserError, match=r"1 of 4 classes have no pixel in the training labels: 'd'; .*=true to train"):
        check_classes(data, ("d",))
    check_classes(data, ())


def test_generated_scenes_hold_every_class() -> None:
    assert absent_classes(Scenes("train", length=40)) == ()


# A void class among the named ones


def test_a_named_void_class_needs_no_pixel(folder: Path) -> None:
    describe(folder, classes=["void", "b", "c"], ignore_index=0)
    data = open_dataset("folder", folder)
    assert data.classes.void == (0,)
    assert data[0][1].unique().tolist() == [255]
    assert absent_classes(data) == ()
    describe(folder, classes=["a", "b", "c"], ignore_index=255)
    assert open_dataset("folder", folder).classes.void == ()


def test_the_colors_of_a_named_void_class_are_void(folder: Path, write) -> None:
    describe(folder, classes=["void", "leaf"], palette=[[9, 9, 9], [0, 200, 0]], ignore_index=0)
    picture = np.full((6, 8, 3), 9, np.uint8)
    picture[:2] = [0, 200, 0]
    write(folder / "labels/train/town/train0.png", picture)
    labels = open_dataset("folder", folder)[0][1]
    assert (labels[:2] == 1).all()
    assert (labels[2:] == 255).all()


def test_black_may_name_what_is_void(binary: Path) -> None:
    describe(binary, classes=["void", "building"], ignore_index=0)
    labels = open_dataset("folder", binary)[0][1]
    assert labels[:2].unique().tolist() == [1]
    assert labels[2:].unique().tolist() == [255]
