from pathlib import Path

import numpy as np
import pytest

from segdistill.data import open_dataset, open_layout
from segdistill.data.layouts.cocostuff import CLASSES, LABELS
from segdistill.errors import UserError

DROPPED = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)  # values that occur in no mask of the release


@pytest.fixture
def root(tmp_path: Path, write) -> Path:
    """One image of each split; its labels are all values of the release's masks, and void."""
    root = tmp_path / "coco"
    for split in ("train2017", "val2017"):
        write(root / f"images/{split}/000000000009.jpg", np.zeros((1, 183, 3), np.uint8))
        values = np.array([*range(182), 255], np.uint8)
        write(root / f"annotations/{split}/000000000009.png", values[None])
    return root


def test_the_release(root: Path) -> None:
    assert [split.name for split in open_layout("cocostuff", root).splits] == ["train", "val"]
    (labels,) = open_dataset("cocostuff", root, "val")[0][1].tolist()
    kept = [value for value in range(182) if value not in DROPPED]
    assert [labels[value] for value in kept] == list(range(171))
    assert {labels[value] for value in DROPPED} == {255}
    assert labels[-1] == 255


def test_converted_masks_and_the_other_name_of_the_folder(root: Path, write) -> None:
    (root / "annotations").rename(root / "stuffthingmaps")
    for split in ("train2017", "val2017"):
        converted = np.array([*range(171), *[255] * 12], np.uint8)
        write(root / f"stuffthingmaps/{split}/000000000009_labelTrainIds.png", converted[None])
    (labels,) = open_dataset("cocostuff", root, "train")[0][1].tolist()
    assert labels == [*range(171), *[255] * 12]


def test_names() -> None:
    assert len(LABELS) == 182
    assert len(set(CLASSES.names)) == 171
    assert CLASSES.names[0] == "person"
    assert CLASSES.names[79:81] == ("toothbrush", "banner")  # 80 things, then stuff
    assert CLASSES.names[-1] == "wood"
    assert (LABELS[90], LABELS[11]) == ("(hair brush)", "(street sign)")


def test_a_wrong_folder(root: Path) -> None:
    with pytest.raises(UserError, match="not laid out as 'cocostuff': expected images/, annotations/"):
        open_layout("cocostuff", root / "images" / "val2017")
