import json
from pathlib import Path

import numpy as np
import pytest

from segdistill.data import ClassFrequencies, Shapes, class_frequencies, open_dataset
from segdistill.errors import UserError


@pytest.fixture
def named(folder: Path, write) -> Path:
    """Three masks of 48 pixels: class 0, class 1, and class 0 with one void pixel; class 2 is absent."""
    (folder / "classes.json").write_text(json.dumps({"classes": ["a", "b", "c"]}))
    write(folder / "labels/train/town/train1.png", 1)
    last = np.zeros((6, 8), np.uint8)
    last[0, 0] = 255
    write(folder / "labels/train/town/train2.png", last)
    return folder


def test_pixels_and_images_by_hand(named: Path) -> None:
    found = class_frequencies(open_dataset("folder", named, scale=0.5))
    assert found == ClassFrequencies(("a", "b", "c"), counts=(95, 48, 0), images=(2, 1, 0), void=1)
    assert found.shares == (95 / 143, 48 / 143, 0.0)
    assert class_frequencies(open_dataset("folder", named), [1, 2]).counts == (47, 48, 0)


def test_a_mask_that_cannot_be_used(named: Path, write) -> None:
    write(named / "labels/train/town/train1.png", 9)
    with pytest.raises(UserError, match=r"1 of 3 masks or their images .*: .*train1\.png' has label 9 in 48 pixels"):
        class_frequencies(open_dataset("folder", named))


def test_common_and_rare() -> None:
    found = ClassFrequencies(("a", "b", "c", "d"), counts=(9, 900, 10, 81), images=(1, 1, 1, 1), void=9000)
    assert found.order == (1, 3, 2, 0)
    assert found.common() == ("b", "d", "c")  # c has exactly 1 % of the labeled pixels
    assert found.rare() == ("a",)
    assert found.rare(0.0801) == ("c", "a")
    assert found.common(0.0801) == ("b", "d")


def test_nothing_labeled() -> None:
    found = ClassFrequencies(("a", "b"), counts=(0, 0), images=(0, 0), void=5)
    assert found.shares == (0.0, 0.0)
    assert found.rare() == ("a", "b")


def test_classification_counts_images() -> None:
    found = class_frequencies(Shapes(length=8))
    assert found.counts == found.images == (2, 2, 1, 1, 1, 1)
    assert found.void == 0
    assert class_frequencies(Shapes(length=8), [0, 6]).counts == (2, 0, 0, 0, 0, 0)


def test_real_camvid_has_rare_classes(shared: Path) -> None:
    found = class_frequencies(open_dataset("camvid", shared / "data/camvid", "val"))
    assert found.rare() == ("signsymbol", "pedestrian", "pole")
    assert found.common()[:3] == ("road", "building", "tree")
    assert found.images[found.names.index("road")] == 101
