"""Cityscapes with the 19 evaluation classes that cityscapesScripts defines."""

from pathlib import Path

from segdistill.data.classes import VOID, Classes
from segdistill.data.layouts.layout import DatasetCard, Layout
from segdistill.data.layouts.pairing import expect, pair, present

CLASSES = Classes(
    names=(
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    ),
    palette=(
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (102, 102, 156),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (152, 251, 152),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
    ),
)

EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The label id of each class. The other ones of the 34 ids (parking, trailer, tunnel, ...) are void."""

_VALUES = tuple(EVALUATED.index(label) if label in EVALUATED else VOID for label in range(34))


def open_cityscapes(root: Path) -> Layout:
    """Return the images and fine annotations: ``labelIds``, which every release has, or else ``labelTrainIds``.

    The test split is left out, because its labels are not public: its masks are all void.
    """
    expect(root, "cityscapes", ["leftImg8bit", "gtFine"])
    images, labels = root / "leftImg8bit", root / "gtFine"
    converted = next(labels.glob("*/*/*_gtFine_labelIds.png"), None) is None
    tail = "_gtFine_labelTrainIds" if converted else "_gtFine_labelIds"
    splits = (
        pair(split, images / split, labels / split, deep=True, image_tail="_leftImg8bit", label_tail=tail)
        for split in present(images, ("train", "val"))
    )
    return Layout("cityscapes", CLASSES, tuple(splits), values=None if converted else _VALUES)


CARD = DatasetCard(
    name="cityscapes",
    about="street scenes of 50 cities: 19 classes, 2975 train and 500 val images of 2048x1024 pixels",
    source="www.cityscapes-dataset.com, after registration: leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip",
    terms="its own: non-commercial use such as research and teaching; no redistribution",
    layout="""\
leftImg8bit/train/CITY/*_leftImg8bit.png    gtFine/train/CITY/*_gtFine_labelIds.png    34 ids, read as 19 classes
leftImg8bit/val/CITY/*_leftImg8bit.png      gtFine/val/CITY/*_gtFine_labelIds.png
without any *_labelIds.png: *_gtFine_labelTrainIds.png, class indices 0..18, 255 = void""",
    open=open_cityscapes,
)
