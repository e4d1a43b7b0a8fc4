"""Pictures of a report, decoded again."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from segdistill.data import Classes
from segdistill.reports.html.pictures import GAINED, LOST, Scene, difference_of, encode, shown
from tests.reports.html.folders import scene

CLASSES = Classes(("a", "b", "c"), ((10, 20, 30), (200, 0, 0), (0, 0, 250)))


def decoded(address: str) -> np.ndarray:
    head, _, body = address.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert("RGBA"))


def test_masks_have_the_colors_of_the_classes_and_void_is_transparent() -> None:
    truth = np.array([[0, 1], [2, 255]], np.uint8)
    found = encode(Scene("x", np.zeros((2, 2, 3), np.uint8), truth, {"net": truth * 0}, {}), CLASSES)
    mask = decoded(found.layers[0].source)
    assert mask[0].tolist() == [[10, 20, 30, 255], [200, 0, 0, 255]]
    assert mask[1, 0].tolist() == [0, 0, 250, 255]
    assert mask[1, 1, 3] == 0
    assert [layer.title for layer in found.layers] == ["ground truth", "net"]
    assert (found.left, found.right) == ("ground truth", "net")


def test_a_difference_shows_where_only_one_is_right() -> None:
    truth = np.array([[0, 0, 0, 0, 255]], np.uint8)
    first = np.array([[0, 0, 1, 1, 0]], np.uint8)
    second = np.array([[0, 1, 0, 2, 1]], np.uint8)
    found = difference_of(truth, first, second, 255)[0]
    assert found.tolist() == [[0] * 4, [*LOST, 255], [*GAINED, 255], [0] * 4, [0] * 4]


def test_every_other_network_is_compared_with_the_reference() -> None:
    found = encode(scene("x", networks=3), CLASSES)
    assert [layer.title for layer in found.layers] == [
        "ground truth",
        "student alone",
        "method 1",
        "method 2",
        "difference: method 1",
        "difference: method 2",
    ]
    assert (found.left, found.right) == ("student alone", "method 1")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1024, 2048), (240, 480)),
        ((33, 47), (33, 47)),
        ((3, 4000), (1, 480)),
        ((960, 480), (960, 480)),
        ((18000, 480), (960, 26)),  # higher than WebP takes
        ((4000, 1), (960, 1)),
    ],
)
def test_large_pictures_are_scaled_down_and_small_ones_kept(size, expected) -> None:
    found = encode(scene("x", size=size), CLASSES)
    assert (found.height, found.width) == expected
    assert all(decoded(layer.source).shape[:2] == expected for layer in found.layers)
    assert decoded(found.photo).shape[:2] == expected


def test_the_room_is_kept() -> None:
    scenes = [scene(f"{number}", noisy=True, size=(100, 100)) for number in range(5)]
    sizes = [encode(each, CLASSES).size for each in scenes]
    assert len(shown(scenes, CLASSES, sum(sizes[:3]))) == 3
    assert len(shown(scenes, CLASSES, sum(sizes[:3]) - 1)) == 2
    found = encode(scenes[0], CLASSES)
    assert found.size == len(found.photo) + sum(len(layer.source) for layer in found.layers)
