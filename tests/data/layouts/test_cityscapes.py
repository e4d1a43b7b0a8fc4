from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdistill.data import open_dataset, open_layout, scan_labels
from segdistill.data.layouts.cityscapes import CLASSES
from segdistill.errors import UserError

# cityscapesScripts, helpers/labels.py: (name, id) of the classes with a train id, in the order of these.
PUBLISHED = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26,
    "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
IDS = np.arange(34, dtype=np.uint8).reshape(2, 17)


@pytest.fixture
def root(tmp_path: Path, write) -> Path:
    """Two cities to train on, one to validate; masks of all 34 ids. A test split without labels."""
    for split, city in (("train", "aachen"), ("train", "zurich"), ("val", "munster"), ("test", "berlin")):
        stem = f"{split}/{city}/{city}_000000_000019"
        write(tmp_path / f"leftImg8bit/{stem}_leftImg8bit.png", np.zeros((2, 17, 3), np.uint8))
        write(tmp_path / f"gtFine/{stem}_gtFine_labelIds.png", IDS)
        write(tmp_path / f"gtFine/{stem}_gtFine_instanceIds.png", IDS)
        write(tmp_path / f"gtFine/{stem}_gtFine_color.png", np.zeros((2, 17, 4), np.uint8))
        (tmp_path / f"gtFine/{stem}_gtFine_polygons.json").write_text("{}")
    return tmp_path


def test_pairs_and_names(root: Path) -> None:
    layout = open_layout("cityscapes", root)
    assert [split.name for split in layout.splits] == ["train", "val"]
    train = layout.split("train")
    assert train.images[1] == root / "leftImg8bit/train/zurich/zurich_000000_000019_leftImg8bit.png"
    assert train.labels[1] == root / "gtFine/train/zurich/zurich_000000_000019_gtFine_labelIds.png"
    assert tuple(PUBLISHED) == CLASSES.names == layout.classes.names


def test_34_ids_become_19_classes(root: Path) -> None:
    labels = open_dataset("cityscapes", root)[0][1].flatten().tolist()
    assert len(labels) == 34
    assert {label: value for label, value in enumerate(labels) if value != 255} == {
        label: index for index, label in enumerate(PUBLISHED.values())
    }


def test_a_value_that_is_no_id(root: Path, write) -> None:
    write(root / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png", IDS + 1)
    with pytest.raises(UserError, match=r"labelIds\.png' has label 34 in 1 pixels; expected 0\.\.33, or 255"):
        open_dataset("cityscapes", root)[0]


def test_converted_labels_where_there_are_no_others(root: Path, write) -> None:
    for path in list(root.rglob("*_labelIds.png")):
        path.unlink()
        write(
            Path(str(path).replace("labelIds", "labelTrainIds")), (IDS % 20 + 236 * (IDS % 20 == 19)).astype(np.uint8)
        )
    data = open_dataset("cityscapes", root, "val")
    assert data[0][1].flatten().tolist()[:20] == [*range(19), 255]


def test_frame_without_annotation(root: Path, write) -> None:
    write(root / "leftImg8bit/val/munster/munster_000001_000019_leftImg8bit.png", np.zeros((2, 17, 3), np.uint8))
    message = r"1 of 2 images .* have no mask .*: munster/munster_000001_000019; .* ends in _gtFine_labelIds\.bmp"
    with pytest.raises(UserError, match=message):
        open_layout("cityscapes", root)


def test_only_half_of_the_release(root: Path) -> None:
    (root / "gtFine").rename(root / "gtCoarse")
    with pytest.raises(UserError, match=r"lacks gtFine/; dataset 'cityscapes' needs leftImg8bit/, gtFine/"):
        open_layout("cityscapes", root)


def test_without_any_split(tmp_path: Path) -> None:
    for folder in ("leftImg8bit/extra", "gtFine"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(UserError, match=r"leftImg8bit' holds none of train/, val/; it holds extra"):
        open_layout("cityscapes", tmp_path)


def test_named_as_another_dataset(root: Path) -> None:
    with pytest.raises(UserError, match=r"it looks like dataset 'cityscapes': set data\.name=cityscapes"):
        open_layout("folder", root)


def test_real_frame(shared: Path) -> None:
    root = shared / "layouts/cityscapes"
    data = open_dataset("cityscapes", root, "val")
    scan_labels(data).check()
    (mask,) = root.rglob("*_labelTrainIds.png")
    with Image.open(mask) as picture:
        converted = np.asarray(picture)
    # The sample's two masks were resized apart from each other: 0.23 % of the pixels disagree.
    assert (data[0][1].numpy() != converted).mean() < 0.003
    with pytest.raises(UserError, match="unknown split 'train'; there are: val in dataset 'cityscapes'"):
        open_dataset("cityscapes", root)
