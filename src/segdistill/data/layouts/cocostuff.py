"""COCO-Stuff 164K: 171 classes, 80 of things and 91 of stuff."""

from pathlib import Path

from segdistill.data.classes import VOID, Classes
from segdistill.data.layouts.layout import DatasetCard, Layout
from segdistill.data.layouts.pairing import expect, pair, present

# The labels 1 to 182 of the release, in order. A label in brackets was dropped from COCO and occurs in no mask.
_LABELS = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, (street sign),
stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, (hat), backpack,
umbrella, (shoe), (eye glasses), handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat,
baseball glove, skateboard, surfboard, tennis racket, bottle, (plate), wine glass, cup, fork, knife, spoon, bowl,
banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed,
(mirror), dining table, (window), (desk), toilet, (door), tv, laptop, mouse, remote, keyboard, cell phone, microwave,
oven, toaster, sink, refrigerator, (blender), book, clock, vase, scissors, teddy bear, hair drier, toothbrush,
(hair brush), banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet, ceiling-other,
ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt, door-stuff, fence, floor-marble,
floor-other, floor-stone, floor-tile, floor-wood, flower, fog, food-other, fruit, furniture-other, grass, gravel,
ground-other, hill, house, leaves, light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement,
pillow, plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, roof, rug, salad, sand, sea,
shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw, structural-other, table, tent, textile-other,
towel, tree, vegetable, wall-brick, wall-concrete, wall-other, wall-panel, wall-stone, wall-tile, wall-wood,
water-other, waterdrops, window-blind, window-other, wood
"""
LABELS = tuple(name.strip() for name in _LABELS.replace("\n", " ").split(","))

CLASSES = Classes(tuple(name for name in LABELS if not name.startswith("(")))

VALUES = tuple(CLASSES.names.index(name) if name in CLASSES.names else VOID for name in LABELS)
"""The class of each value in the release's masks, which is the label minus one; 255 for the dropped labels."""

FOLDERS = {"train2017": "train", "val2017": "val"}
_CONVERTED = "_labelTrainIds"


def open_cocostuff(root: Path) -> Layout:
    """Return the images and masks.

    In the release's masks, the value is the label minus one: 0..181 with 11 values that do not occur. Masks that mmseg
    converted (``*_labelTrainIds.png``) hold the classes 0..170, and are taken where they exist.
    """
    labels_folder = "stuffthingmaps" if (root / "stuffthingmaps").is_dir() else "annotations"
    expect(root, "cocostuff", ["images", labels_folder])
    images, labels = root / "images", root / labels_folder
    is_converted = next(labels.glob(f"*/*{_CONVERTED}.png"), None) is not None
    tail = _CONVERTED if is_converted else ""
    splits = (
        pair(FOLDERS[folder], images / folder, labels / folder, deep=False, label_tail=tail)
        for folder in present(images, tuple(FOLDERS))
    )
    return Layout("cocostuff", CLASSES, tuple(splits), values=None if is_converted else VALUES)


CARD = DatasetCard(
    name="cocostuff",
    about="everyday scenes: 171 classes (80 of things, 91 of stuff), 118287 train and 5000 val images",
    source="github.com/nightrome/cocostuff: train2017.zip, val2017.zip and stuffthingmaps_trainval2017.zip",
    terms="annotations: CC BY 4.0; images: the terms of use of Flickr",
    layout="""\
images/train2017/*.jpg    annotations/train2017/*.png    0..181 = label minus one; 171 of them are classes
images/val2017/*.jpg      annotations/val2017/*.png      annotations/ may be called stuffthingmaps/""",
    open=open_cocostuff,
)
