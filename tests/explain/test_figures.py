"""Colors, matrices, plots and sheets."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdistill.data import Classes
from segdistill.explain.figures import CIVIDIS, Bar, heat, marked, matrix, over_gray, scatter, sheet
from tests.fonts import install

CLASSES = Classes(("road", "car"), ((200, 10, 10), (10, 200, 10)))


def test_colors_at_equal_steps_and_cut_off() -> None:
    values = np.array([[-5.0, 2.0, 2.5, 3.0, 9.0]])
    colors = heat(values, 2, 3)[0]
    assert colors[0].tolist() == colors[1].tolist() == CIVIDIS[0].tolist()
    assert colors[3].tolist() == colors[4].tolist() == CIVIDIS[-1].tolist()
    assert colors[2].tolist() == np.round((CIVIDIS[4] + CIVIDIS[5]) / 2).astype(int).tolist()


def test_lightness_grows_with_the_value() -> None:
    colors = heat(np.linspace(0, 1, 50)[None], 0, 1)[0]
    assert (np.diff(colors @ np.array([0.2126, 0.7152, 0.0722])) > 0).all()
    assert heat(np.ones((1, 2)), 1, 1).shape == (1, 2, 3)  # no range


def test_over_gray_by_hand() -> None:
    image = np.array([[[30, 60, 90]]], np.uint8)
    assert over_gray(image, np.array([[[100, 0, 0]]], np.uint8), 0.5).tolist() == [[[80, 30, 30]]]


def test_markers_are_at_their_places_in_their_colors() -> None:
    picture = marked(np.zeros((40, 60, 3), np.uint8), [(10.0, 20.0), (30.0, 50.0)], [0, 1], CLASSES)
    assert picture[10, 20].tolist() == [200, 10, 10]
    assert picture[30, 50].tolist() == [10, 200, 10]
    plot = scatter(np.array([[0.0, 0.0], [4.0, 8.0]]), [0, 1], CLASSES, 100)
    assert plot[90, 10].tolist() == [200, 10, 10]  # the lowest point is at the bottom, on the left
    assert plot[10, 90].tolist() == [10, 200, 10]


def test_matrix_rows_go_down() -> None:
    picture = matrix(np.array([[0.0, 1.0], [0.5, 0.0]]), ["road", "car"], 0, 1, cell=20)
    room = picture.shape[1] - 40
    assert picture.shape == (40 + room, 40 + room, 3)
    assert picture[10, room + 30].tolist() == CIVIDIS[-1].tolist()
    assert picture[30, room + 10].tolist() == heat(np.array([[0.5]]), 0, 1)[0, 0].tolist()


def test_names_below_a_matrix_are_in_the_order_of_columns() -> None:
    picture = matrix(np.zeros((2, 2)), ["wide name of a class", ""], 0, 1, cell=20)
    room = picture.shape[1] - 40
    below = (picture[40:, room:] < 128).any(axis=(0, 2))
    assert below[:20].any()
    assert not below[20:].any()


def test_a_sheet_has_every_picture(tmp_path: Path) -> None:
    red, blue = np.zeros((10, 20, 3), np.uint8), np.zeros((30, 20, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    rows = [("first", [red, blue]), ("second", [blue, red])]
    file = tmp_path / "new" / "sheet.png"
    bars = [Bar("nats", 0, 1.5)]
    sheet(file, "Title", ["one", "two"], rows, width=40, bars=bars, classes=CLASSES, shown=[1], note="word " * 60)
    pixels = np.asarray(Image.open(file))
    assert (pixels == [255, 0, 0]).all(axis=2).sum() == 2 * 40 * 20
    assert (pixels == [0, 0, 255]).all(axis=2).sum() == 2 * 40 * 60
    assert (pixels == CIVIDIS[-1]).all(axis=2).any()
    assert (pixels == [10, 200, 10]).all(axis=2).any()
    assert not (pixels == [200, 10, 10]).all(axis=2).any()


@pytest.mark.parametrize("width", [20, 300])
def test_titles_of_columns_do_not_overlap(tmp_path: Path, width: int) -> None:
    red = np.zeros((10, 20, 3), np.uint8)
    red[..., 0] = 255
    columns = ["m" * 30, "m" * 25]
    file = sheet(tmp_path / "sheet.png", "Title", columns, [("a long name of a row", [red, red])], width=width)
    pixels = np.asarray(Image.open(file))
    ink = np.flatnonzero((pixels[36:54] < 128).any(axis=(0, 2)))  # the line of the titles
    starts = [int(ink[0]), *(int(right) for left, right in pairwise(ink.tolist()) if right - left > 4)]
    assert len(starts) == 2  # a gap of more than 4 pixels between the titles, and none within
    is_red = (pixels == [255, 0, 0]).all(axis=2).any(axis=0)
    pictures = np.flatnonzero(is_red & ~np.roll(is_red, 1))
    assert len(pictures) == 2
    assert np.abs(pictures - starts).max() <= 2  # each title begins where its picture does


def test_names_outside_ascii_have_their_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(*texts: str) -> bytes:
        title, column, row, label, name, note = texts
        rows = [(row, [np.zeros((10, 20, 3), np.uint8)])]
        file, classes = tmp_path / "sheet.png", Classes((name, "car"), CLASSES.palette)
        sheet(file, title, [column], rows, bars=[Bar(label, 0, 1)], classes=classes, shown=[0, 1], note=note)
        return file.read_bytes()

    install(monkeypatch, "DejaVuSans.ttf")
    assert drawn(*"шшшшшш") == drawn(*"gggggg")
    assert len({drawn(*text) for text in ("шшшшшш", "жшшшшш", "шжшшшш", "шшжшшш", "шшшжшш", "шшшшжш", "шшшшшж")}) == 7
    for only in range(6):  # each text alone decides on the font
        texts = ["a"] * 6
        assert drawn(*texts[:only], "ш", *texts[only + 1 :]) != drawn(*texts[:only], "ж", *texts[only + 1 :])
    zeros = np.zeros((2, 2))
    assert (matrix(zeros, ["ш", "road"], 0, 1) == matrix(zeros, ["g", "road"], 0, 1)).all()
    assert (matrix(zeros, ["ш", "road"], 0, 1) != matrix(zeros, ["f", "road"], 0, 1)).any()
