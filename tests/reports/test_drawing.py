"""Pictures of labels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdistill.data import Classes
from segdistill.reports.drawing import GAP, KEY, TITLE, colored, grid, overlaid
from tests.fonts import install

CLASSES = Classes(("a", "b"), ((10, 20, 30), (201, 255, 0)))


def test_colors_of_classes_and_void() -> None:
    assert colored(np.array([[0, 1, 255]]), CLASSES).tolist() == [[[10, 20, 30], [201, 255, 0], [0, 0, 0]]]


def test_half_of_the_image_and_half_of_the_color() -> None:
    image = np.array([[[100, 0, 255], [255, 255, 255], [1, 2, 3]]], np.uint8)
    assert overlaid(image, np.array([[0, 1, 255]]), CLASSES).tolist() == [[[55, 10, 142], [228, 255, 127], [1, 2, 3]]]


@pytest.mark.parametrize(("opacity", "difference"), [(0.0, 0), (0.5, 0), (1.0, 0), (0.7, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_is_the_weighted_mean_rounded_down(opacity: float, difference: int, dtype: type) -> None:
    rng = np.random.default_rng(0)
    classes = Classes(tuple(map(str, range(200))))
    image, labels = rng.integers(0, 256, (20, 30, 3), np.uint8), rng.integers(0, 200, (20, 30)).astype(dtype)
    expected = ((1 - opacity) * image.astype(float) + opacity * np.array(classes.palette, float)[labels]).astype(int)
    assert np.abs(overlaid(image, labels, classes, opacity) - expected).max() <= difference


def test_a_disk_stays_round_in_rows_of_other_sizes(tmp_path: Path) -> None:
    def disk(height: int, width: int) -> np.ndarray:
        rows, columns = np.mgrid[:height, :width]
        inside = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < 50**2
        return np.where(inside[..., None], np.array([255, 0, 0]), np.array([0, 0, 255])).astype(np.uint8)

    file = tmp_path / "grid.png"
    rows = [{"image": disk(200, 100), "net": disk(200, 100)}, {"image": disk(100, 200), "net": disk(100, 200)}]
    grid(rows, CLASSES, file, width=100)
    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels.shape[:2] == (TITLE + 200 + GAP + 50 + GAP + KEY, 2 * 100 + GAP)
    red = (pixels[:, :, 0] > 250) & (pixels[:, :, 1:].max(axis=2) < 5)
    for top, height, radius in ((TITLE, 200, 50), (TITLE + 200 + GAP, 50, 25)):
        for left in (0, 100 + GAP):
            rows_of, columns_of = np.nonzero(red[top : top + height, left : left + 100])
            assert abs(np.ptp(rows_of) + 1 - 2 * radius) <= 2
            assert abs(np.ptp(columns_of) + 1 - 2 * radius) <= 2
            assert rows_of.mean() == pytest.approx(height / 2, abs=1)


def test_titles_and_names_outside_ascii_have_their_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(title: str, name: str) -> bytes:
        grid([{title: np.zeros((40, 200, 3), np.uint8)}], Classes((name, "b"), CLASSES.palette), tmp_path / "grid.png")
        return (tmp_path / "grid.png").read_bytes()

    install(monkeypatch, "DejaVuSans.ttf")
    assert drawn("ш", "ш") == drawn("g", "g")
    assert len({drawn("ж", "a"), drawn("ш", "a"), drawn("a", "ж"), drawn("a", "ш")}) == 4


def test_no_name_of_the_key_covers_the_next_one(tmp_path: Path) -> None:
    classes = Classes(("WWWWWWWWWWWWWWWWWWWW", "b"), CLASSES.palette)
    grid([{"image": np.zeros((10, 320, 3), np.uint8)}], classes, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        key = np.asarray(picture.convert("RGB")).astype(int)[-KEY:]
    left = int(np.nonzero((key == (201, 255, 0)).all(axis=2).any(axis=0))[0].min())
    assert (key[:, left - 8 : left - 2] == 255).all()
