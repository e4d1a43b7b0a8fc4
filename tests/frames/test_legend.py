"""The legend: each class that can be predicted, with its color."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdistill.data import Classes
from segdistill.frames.inputs import is_legend
from segdistill.frames.legend import GAP, LINE, ROWS, SWATCH, has_boxes, write_legend
from tests.fonts import install
from tests.frames.videos import CLASSES


def test_each_class_has_its_color_and_index_and_void_is_left_out(tmp_path: Path) -> None:
    file = write_legend(CLASSES, tmp_path / "new")
    assert file == tmp_path / "new" / "legend.png"
    assert is_legend(file)
    with Image.open(file) as picture:
        assert picture.height == 2 * GAP + 2 * LINE
        pixels = np.asarray(picture.convert("RGB"))
    for row in range(2):
        middle = GAP + row * LINE + LINE // 2
        assert tuple(pixels[middle, GAP + SWATCH + SWATCH // 2]) == CLASSES.palette[row]
        digits, name = (
            pixels[middle - 8 : middle + 6, GAP + 2 : GAP + SWATCH - 2],
            pixels[middle, GAP + 2 * SWATCH + 3 :],
        )
        assert digits.min() == 0  # black on white, for every palette
        assert digits.max() == 255
        assert name.min() < 128
    assert CLASSES.palette[2] not in {tuple(color) for color in pixels.reshape(-1, 3).tolist()}


def test_many_classes_have_columns_as_wide_as_their_names(tmp_path: Path) -> None:
    names = [f"class {index}" for index in range(2 * ROWS + 1)]
    names[-1] = "a name that is much longer than the others, to the edge of the picture"
    classes = Classes(tuple(names))
    with Image.open(write_legend(classes, tmp_path)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[0] == 2 * GAP + ROWS * LINE
    colors = {tuple(color) for color in pixels.reshape(-1, 3).tolist()}
    assert set(classes.palette) <= colors
    assert (pixels[:, -GAP // 2 :] == 255).all()  # no name is cut off


def test_names_outside_ascii_have_their_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(*names: str) -> bytes:
        return write_legend(Classes(names, CLASSES.palette[: len(names)]), tmp_path).read_bytes()

    install(monkeypatch, "NotoSans-Regular.ttf")
    assert drawn("жш", "road") == drawn("fg", "road")
    assert drawn("жш", "road") != drawn("шж", "road")


def test_letters_that_no_font_has_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "NotoSans-Regular.ttf")
    assert not has_boxes(Classes(("жш", "road")))
    assert has_boxes(Classes(("жш", "道")))
    assert not has_boxes(Classes(("жш", "道"), void=(1,)))  # void is not in the legend
    install(monkeypatch)
    assert has_boxes(Classes(("жш", "road")))
    assert not has_boxes(Classes(("road", "sky")))
