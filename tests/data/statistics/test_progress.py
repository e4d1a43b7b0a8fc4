"""Long reading of a data set tells how far it is."""

from pathlib import Path

import numpy as np
from PIL import Image

from segdistill.data import Scenes, open_layout
from segdistill.data.statistics.inferred_classes import inferred_classes
from segdistill.data.statistics.repeats import repeated_images
from segdistill.data.statistics.scan import check_images
from segdistill.system.progress import listening
from tests.heard import Heard


def test_reading_images_and_looking_for_repeated_ones() -> None:
    scenes, heard = Scenes(size=(16, 20), length=4), Heard()
    with listening(heard):
        check_images(scenes, range(3), decodes=True)
        repeated_images(scenes, scenes, range(2))
    assert heard.told == [
        *(("reading images", done, 3) for done in (1, 2, 3)),
        *(("looking for repeated images", done, 2) for done in (1, 2)),
    ]


def test_reading_the_values_of_masks(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / kind / split).mkdir(parents=True)
            values = np.array([[0, 1], [1, 0]], dtype=np.uint8)
            Image.fromarray(np.stack([values] * 3, -1) if kind == "images" else values).save(
                tmp_path / kind / split / "a.png"
            )
    heard = Heard()
    with listening(heard):
        inferred_classes(open_layout("folder", str(tmp_path), None))
    assert heard.told == [("reading the values of all masks", done, 2) for done in (1, 2)]
