"""Layouts of generated data sets, which have no files."""

from pathlib import Path

from segdistill.data.classes import Classes
from segdistill.data.layouts.layout import SPLITS, DatasetCard, Layout, Split

SCENES = Classes(
    names=("sky", "building", "road", "pavement", "tree", "car", "pole", "sign", "person", "bicyclist"),
    palette=(
        (70, 130, 180),
        (128, 64, 64),
        (128, 64, 128),
        (244, 35, 232),
        (107, 142, 35),
        (0, 0, 142),
        (153, 153, 153),
        (220, 220, 0),
        (220, 20, 60),
        (119, 11, 32),
    ),
)

SHAPES = Classes(("disc", "ring", "square", "triangle", "cross", "bars"))

_SPLITS = tuple(Split(name) for name in SPLITS)


def open_scenes(root: Path) -> Layout:
    """Return the classes and splits; ``root`` is not used."""
    return Layout("scenes", SCENES, _SPLITS)


def open_shapes(root: Path) -> Layout:
    """Return the classes and splits; ``root`` is not used."""
    return Layout("shapes", SHAPES, _SPLITS, task="classification")


SCENES_CARD = DatasetCard(
    name="scenes",
    about="generated street scenes with exact labels: 10 classes, some of them rare",
    source="generated from (split, index), the same on every machine",
    terms="none",
    layout="",
    open=open_scenes,
)

SHAPES_CARD = DatasetCard(
    name="shapes",
    about="generated pictures of one shape each, for image classification: 6 classes",
    source="generated from (split, index), the same on every machine",
    terms="none",
    layout="",
    open=open_shapes,
    task="classification",
)
