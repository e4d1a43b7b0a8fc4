"""Indexed masks whose palette shows that an index may not be the label, as lossless PNG optimizers write them."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdistill.data import open_dataset, scan_labels
from segdistill.data.decoding.masks import read_mask
from segdistill.errors import UserError

BOTH = "has a palette of grays, in which index {} is gray {}: either can be the label"
RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def indexed(path: Path, indices: Sequence[int], palette: Sequence[int | tuple[int, ...]]) -> Path:
    """Write a mask of 8x6 pixels with a palette of colors, or of grays."""
    values = np.resize(np.array(indices, np.uint8), 48)
    picture = Image.frombytes("P", (8, 6), values.tobytes())
    picture.putpalette([value for entry in palette for value in (entry if isinstance(entry, tuple) else [entry] * 3)])
    picture.save(path)
    return path


def name_classes(folder: Path, count: int, **entries: object) -> None:
    (folder / "classes.json").write_text(json.dumps({"classes": [f"c{i}" for i in range(count)], **entries}))


@pytest.mark.parametrize(
    ("indices", "grays", "wrong"),
    [
        ([0, 1, 2, 3], [0, 11, 7, 5], (1, 11)),  # of 0, 5, 7 and 11
        ([0, 1], [1, 0], (0, 1)),  # of 0 and 1: the classes exchanged
        ([0], [1], (0, 1)),  # of 1
        ([0, 1], [255, 1], (0, 255)),  # of 1 and void
        ([0, 1, 2], [0, 1, 255], (2, 255)),
        ([0, 1], [255, 0], (0, 255)),  # white and black
    ],
)
def test_gray_labels_in_a_palette_are_refused(
    tmp_path: Path, indices: list[int], grays: list[int], wrong: tuple[int, int]
) -> None:
    path = indexed(tmp_path / "m.png", indices, grays)
    with pytest.raises(UserError, match=BOTH.format(*wrong)):
        read_mask(path, 20)
    with Image.open(path) as picture:
        by_gray, by_index = picture.convert("L"), Image.fromarray(np.array(picture))
    by_gray.save(path)  # the two remedies of the message
    assert read_mask(path, 20).ravel()[: len(grays)].tolist() == grays
    by_index.save(path)
    assert read_mask(path, 20).ravel()[: len(grays)].tolist() == indices


@pytest.mark.parametrize(
    "palette",
    [
        [0, 1, 2, 3],  # the labels themselves
        [0, 85, 170, 255],  # grays to look at: 85 is no label
        [0, 1, 1, 2],  # two labels would become one
        [255, 170, 85, 0],
        [(0, 0, 0), (128, 128, 128), (192, 192, 192), (1, 1, 1), (200, 0, 0)],  # a palette of colors, as VOC's
        [0, 11, 7, 5, (3, 0, 9)],  # one color among grays that are labels
        list(range(0, 256, 5)),  # up to 255, of which 5, 10 and 15 are labels
    ],
)
def test_other_palettes_are_read_by_index(tmp_path: Path, palette: list[int | tuple[int, ...]]) -> None:
    path = indexed(tmp_path / "m.png", [0, 1, 2, 3], palette)
    assert read_mask(path, 20).ravel()[:4].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("indices", [[0, 1], [1], [0]])
def test_black_and_white_palettes_are_read_by_index(tmp_path: Path, indices: list[int]) -> None:
    path = indexed(tmp_path / "m.png", indices, [0, 255])
    assert np.unique(read_mask(path, 2)).tolist() == sorted(indices)


def test_a_palette_of_the_classes_settles_it(tmp_path: Path) -> None:
    """As predictions have it: white is class 0."""
    path = indexed(tmp_path / "m.png", [0, 1, 255], [255, *[0] * 255])
    labels = read_mask(path, 2, colors=((255, 255, 255), (0, 0, 0)))
    assert labels.ravel()[:3].tolist() == [0, 1, 255]


def test_void_among_the_stored_values_is_a_label(tmp_path: Path) -> None:
    path = indexed(tmp_path / "m.png", [0, 1], [3, 99])
    assert read_mask(path, 20).ravel()[:2].tolist() == [0, 1]
    with pytest.raises(UserError, match=BOTH.format(0, 3)):
        read_mask(path, 20, void=99)


def test_the_void_index_may_show_any_color(tmp_path: Path) -> None:
    path = indexed(tmp_path / "m.png", [0, 1, 2], [(0, 0, 0), RED, (0, 0, 0)])
    labels = read_mask(path, 2, colors=((0, 0, 0), RED), void=2)
    assert labels.ravel()[:3].tolist() == [0, 1, 255]


def test_an_index_that_is_no_label(tmp_path: Path) -> None:
    path = indexed(tmp_path / "m.png", [0, 3], [RED, GREEN, BLUE, (1, 2, 3)])
    with pytest.raises(UserError, match=r"has label 3 in 24 pixels; expected 0\.\.1, or 255 for void"):
        read_mask(path, 2)


def test_label_ids_of_a_release_are_labels(tmp_path: Path) -> None:
    """Cityscapes: 34 ids of 19 classes."""
    path = indexed(tmp_path / "m.png", [0, 1], [7, 26])
    with pytest.raises(UserError, match=BOTH.format(0, 7)):
        read_mask(path, 19, values=(255,) * 34)


def test_without_classes_the_grays_of_all_masks_are_compared(folder: Path) -> None:
    """The masks hold 0, 1 and 2; an optimizer gave the last one a palette."""
    path = indexed(folder / "labels/train/town/train2.png", [0, 1], [2, 1])
    with pytest.raises(UserError, match=rf"train2\.png' {BOTH.format(0, 2)}"):
        open_dataset("folder", folder)
    indexed(path, [0, 1], [0, 130])  # no label
    assert open_dataset("folder", folder).classes.names == ("class 0", "class 1")


@pytest.mark.parametrize("named", [True, False])
def test_an_index_has_one_color_in_all_masks(folder: Path, named: bool) -> None:
    """RGB masks of red, green and blue that a program gave a palette each."""
    train = folder / "labels/train/town"
    indexed(train / "train0.png", [0, 1], [RED, GREEN])
    indexed(train / "train1.png", [0, 1], [RED, GREEN, BLUE])
    last = indexed(train / "train2.png", [0, 1], [GREEN, BLUE])
    if named:
        name_classes(folder, 3)

    def read() -> None:
        scan_labels(open_dataset("folder", folder)).check()

    with pytest.raises(UserError, match=r"masks '.*\.png' and '.*\.png' show index [01] in two colors, .*own palette"):
        read()
    indexed(last, [1, 2], [RED, GREEN, BLUE])  # corrected
    read()


def test_an_index_has_one_color_in_all_splits(folder: Path) -> None:
    name_classes(folder, 3)
    indexed(folder / "labels/train/town/train0.png", [0], [RED])
    indexed(folder / "labels/val/town/val0.png", [0], [GREEN])
    scan_labels(open_dataset("folder", folder)).check()
    with pytest.raises(UserError, match=r"train0\.png' and '.*val0\.png' show index 0 in two colors, \[200, "):
        scan_labels(open_dataset("folder", folder, "val")).check()


def test_unused_entries_void_and_palettes_of_labels_may_differ(folder: Path) -> None:
    name_classes(folder, 4)
    train = folder / "labels/train/town"
    indexed(train / "train0.png", [0, 1, 255], [RED, GREEN, BLUE, *[9] * 252, BLUE])
    indexed(train / "train1.png", [0, 1, 255], [RED, GREEN, *[7] * 254])
    indexed(train / "train2.png", [0, 1, 3], list(range(256)))
    data = open_dataset("folder", folder)
    assert [np.unique(data.read_labels(index)).tolist() for index in range(3)] == [[0, 1, 255], [0, 1, 255], [0, 1, 3]]


def test_a_mask_that_was_corrected_is_not_held_against_others(folder: Path) -> None:
    name_classes(folder, 3)
    first = indexed(folder / "labels/train/town/train0.png", [0, 1], [RED, GREEN])
    indexed(folder / "labels/train/town/train1.png", [0, 1], [GREEN, RED])
    data = open_dataset("folder", folder)
    data.read_labels(0)
    with pytest.raises(UserError, match="in two colors"):
        data.read_labels(1)
    indexed(first, [1, 0], [GREEN, RED])
    for index in (0, 1):
        data.read_labels(index)
    indexed(first, [0, 1], [BLUE, GREEN])
    data.read_labels(0)
    with pytest.raises(UserError, match="in two colors"):
        data.read_labels(1)
    first.unlink()
    data.read_labels(1)
