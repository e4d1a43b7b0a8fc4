"""Pictures of labels."""

import numpy as np
import pytest

from segdistill.data import Classes
from segdistill.reports.drawing import colored, overlaid

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
