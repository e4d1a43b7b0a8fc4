"""Gray masks of less than 8 bits: 0 and 255 stored in one bit are 0 and 1."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdistill.data import open_dataset, scan_labels
from segdistill.data.decoding.masks import read_mask
from segdistill.errors import UserError
from tests.raw_pictures import png

OBJECT = np.zeros((6, 8), np.uint8)
OBJECT[:2] = 1


@pytest.fixture
def named(folder: Path) -> Path:
    """20 classes; the training masks hold 0, 1 and 2, the others 0."""
    (folder / "classes.json").write_text(json.dumps({"classes": [f"c{i}" for i in range(20)]}))
    return folder


def masks(root: Path) -> list[Path]:
    return [root / f"labels/train/town/train{i}.png" for i in range(3)]


def read(root: Path) -> None:
    scan_labels(open_dataset("folder", root)).check()


def in_one_bit(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values == 1).save(path)


def in_two_colors(path: Path, values: np.ndarray) -> None:
    picture = Image.fromarray(values, mode="P")
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(path)


@pytest.mark.parametrize("save", [in_one_bit, in_two_colors])
@pytest.mark.parametrize("number", [0, 2])  # read before and after the mask with void
def test_one_bit_where_255_is_void(named: Path, write, save, number: int) -> None:
    bit, void = masks(named)[number], masks(named)[1]
    save(bit, OBJECT)
    read(named)  # no mask holds 255, so 1 is the label
    write(void, OBJECT * 255)
    message = rf"{bit.name}' stores 1 for gray 255, and either .*, because mask '.*{void.name}' holds 255; .* in 8 bits"
    with pytest.raises(UserError, match=message):
        read(named)
    with Image.open(bit) as picture:
        by_gray, by_value = picture.convert("L"), Image.fromarray(np.uint8(picture))
    for remedy, label in ((by_gray, 255), (by_value, 1)):
        remedy.save(bit)
        read(named)
        assert read_mask(bit, 20)[0, 0] == label


def test_a_bit_that_is_never_set_is_certain(named: Path, write) -> None:
    in_one_bit(masks(named)[0], OBJECT * 0)
    write(masks(named)[1], OBJECT * 255)
    read(named)


def test_four_bits_and_eight(named: Path) -> None:
    """A mask of 17, stored as 1, in a data set of 20 classes."""
    path = masks(named)[1]
    path.write_bytes(png(OBJECT, 4))
    message = r"train1\.png' stores 1 for gray 17, and either .* because mask '.*' has 8 bits; .*\)\) // 17\) if the"
    with pytest.raises(UserError, match=message):
        read(named)
    with Image.open(path) as picture:
        by_gray, by_value = picture.convert("L"), Image.fromarray(np.uint8(picture) // 17)
    for remedy, label in ((by_gray, 17), (by_value, 1)):
        remedy.save(path)
        read(named)
        assert read_mask(path, 20)[0, 0] == label


def test_four_bits_whose_grays_are_no_labels(named: Path) -> None:
    masks(named)[1].write_bytes(png(OBJECT * 3, 4))  # 51
    read(named)


def test_few_bits_in_all_masks(named: Path) -> None:
    for path in masks(named):
        path.write_bytes(png(OBJECT, 4))
    data = open_dataset("folder", named)
    assert [data.read_labels(index).tolist() for index in range(3)] == [OBJECT.tolist()] * 3
