"""ADE20K as released for the scene parsing challenge of 2016: 150 classes."""

from pathlib import Path

from segdistill.data.classes import VOID, Classes
from segdistill.data.layouts.layout import DatasetCard, Layout
from segdistill.data.layouts.pairing import expect, pair, present

# The first synonym of each entry, in the order of the challenge's objectInfo150.
_NAMES = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door, table,
mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, armchair, seat,
fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, chest of drawers, counter,
sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table, pillow,
screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench, countertop,
stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel, bus, towel, light, truck, tower,
chandelier, awning, streetlight, booth, television receiver, airplane, dirt track, apparel, pole, land, bannister,
escalator, ottoman, bottle, buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything,
swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name,
microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray,
ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag
"""

CLASSES = Classes(tuple(name.strip() for name in _NAMES.replace("\n", " ").split(",")))

FOLDERS = {"training": "train", "validation": "val"}


def open_ade20k(root: Path) -> Layout:
    """Return the images and masks. In the files, 0 is unlabeled and ``c + 1`` is class ``c``."""
    expect(root, "ade20k", ["images", "annotations"])
    images, labels = root / "images", root / "annotations"
    splits = (
        pair(FOLDERS[folder], images / folder, labels / folder, deep=True) for folder in present(images, tuple(FOLDERS))
    )
    return Layout("ade20k", CLASSES, tuple(splits), values=(VOID, *range(len(CLASSES))))


CARD = DatasetCard(
    name="ade20k",
    about="scenes indoors and outdoors: 150 classes, 20210 train and 2000 val images",
    source="sceneparsing.csail.mit.edu, ADEChallengeData2016.zip (not the full ADE20K, whose masks are colors)",
    terms="images for non-commercial research and education; annotations under a BSD license",
    layout="""\
images/training/*.jpg      annotations/training/*.png      0 = unlabeled, 1..150 = classes 0..149
images/validation/*.jpg    annotations/validation/*.png""",
    open=open_ade20k,
)
