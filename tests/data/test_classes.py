import pytest

from segdistill.data import Classes
from segdistill.data.classes import color
from segdistill.data.layouts import camvid, generated


def test_generated_colors_are_pascal_vocs() -> None:
    # The published VOC color map: background, aeroplane, bicycle, bird ... tv/monitor, void.
    assert [color(i) for i in (0, 1, 2, 3, 20, 255)] == [
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (0, 64, 128),
        (224, 224, 192),
    ]
    assert len({color(i) for i in range(256)}) == 256


@pytest.mark.parametrize("classes", [camvid.CLASSES, generated.SCENES, Classes(("a", "b", "c"))])
def test_one_distinct_color_and_name_per_class(classes: Classes) -> None:
    assert len(set(classes.palette)) == len(set(classes.names)) == len(classes)
    assert classes.ignore_index == 255
