import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdistill.data import open_dataset, open_layout, scan_labels
from segdistill.data.layouts.ade20k import CLASSES
from segdistill.errors import UserError


@pytest.fixture
def root(tmp_path: Path, write) -> Path:
    """One image of each split; its labels are all values that the challenge's masks hold."""
    root = tmp_path / "ADEChallengeData2016"
    for split, stem in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        write(root / f"images/{split}/{stem}.jpg", np.zeros((1, 151, 3), np.uint8))
        write(root / f"annotations/{split}/{stem}.png", np.arange(151, dtype=np.uint8)[None])
    return root


def test_label_minus_one_and_0_is_void(root: Path) -> None:
    layout = open_layout("ade20k", root)
    assert [split.name for split in layout.splits] == ["train", "val"]
    for split in ("train", "val"):
        assert open_dataset("ade20k", root, split)[0][1].tolist() == [[255, *range(150)]]


def test_a_value_above_150(root: Path, write) -> None:
    write(root / "annotations/validation/ADE_val_00000001.png", 151, (1, 151))
    with pytest.raises(UserError, match=r"has label 151 in 151 pixels; expected 0\.\.150, or 255 for void"):
        open_dataset("ade20k", root, "val")[0]


def test_one_folder_too_high_or_named_otherwise(root: Path) -> None:
    with pytest.raises(UserError, match=rf"did you mean '{root}'\?"):
        open_layout("ade20k", root.parent)
    with pytest.raises(UserError, match=r"set data\.name=ade20k"):
        open_layout("folder", root)


def test_150_distinct_names() -> None:
    assert len(set(CLASSES.names)) == len(CLASSES.names) == 150
    assert CLASSES.names[:3] == ("wall", "building", "sky")
    assert CLASSES.names[-1] == "flag"


def test_names_are_those_of_the_challenge(shared: Path) -> None:
    with (shared / "layouts/ade20k/ADEChallengeData2016/objectInfo150.csv").open() as file:
        rows = list(csv.DictReader(file))
    # That copy of the table has ";" for spaces too: only the first word of a name can be compared.
    assert [name.split()[0] for name in CLASSES.names] == [row["Name"].split(";")[0] for row in rows]


def test_real_scenes(shared: Path) -> None:
    data = open_dataset("ade20k", shared / "layouts/ade20k/ADEChallengeData2016", "val")
    assert len(data) == 3
    report = scan_labels(data)
    report.check()
    for index in range(3):
        with Image.open(data.split.labels[index]) as picture:
            raw = np.asarray(picture).astype(int)
        assert data[index][1].tolist() == np.where(raw == 0, 255, raw - 1).tolist()
