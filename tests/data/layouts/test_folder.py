"""Folders as people have them: flat ones, test images without labels, further keys, annotations of other programs."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from segdistill.data import open_dataset, open_layout
from segdistill.data.statistics.repeats import repeated_images
from segdistill.errors import UserError


@pytest.fixture
def flat(tmp_path: Path, write) -> Path:
    root = tmp_path / "flat"
    for i in range(10):
        write(root / f"images/{i}.png", np.full((6, 8, 3), i, np.uint8))
        write(root / f"labels/{i}.png", i % 2)
    return root


def names(root: Path, share: float) -> dict[str, list[str]]:
    return {split.name: [path.stem for path in split.images] for split in open_layout("folder", root, share).splits}


def test_a_flat_folder_is_split_alike_each_time(flat: Path) -> None:
    found = names(flat, 0.7)
    assert found == names(flat, 0.7)
    assert (len(found["train"]), len(found["val"])) == (7, 3)
    assert sorted(found["train"] + found["val"]) == [str(i) for i in range(10)]
    assert found["val"] != ["7", "8", "9"]  # not the last ones, which are often of one kind
    data = open_dataset("folder", flat, "val", share=0.7)
    for i in range(3):
        image, labels = data[i]
        assert labels.unique().tolist() == [int(image[0, 0, 0]) % 2]  # its own mask


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("training", "validation", "testing"),
        ("Train", "Val", "Test"),
        ("train", "valid", "test"),
        ("TRAIN", "dev", "test"),
    ],
)
def test_splits_may_have_their_usual_names(folder: Path, train: str, val: str, test: str) -> None:
    shutil.copytree(folder / "images/val", folder / "images" / test)
    shutil.copytree(folder / "labels/val", folder / "labels" / test.lower())
    (folder / "images/train").rename(folder / "images" / train)
    (folder / "labels/train").rename(folder / "labels" / train.lower())  # labels may spell it in another way
    for kind in ("images", "labels"):
        (folder / kind / "val").rename(folder / kind / val)
    layout = open_layout("folder", folder)
    assert [(split.name, len(split.images)) for split in layout.splits] == [("train", 3), ("val", 2), ("test", 2)]
    assert all(path.is_relative_to(folder / "images" / val) for path in layout.split("val").images)
    assert all(path.exists() for split in layout.splits for path in split.labels)
    assert layout.split("train").source == ("" if train == "train" else f"the images in {train}/")
    with pytest.raises(
        UserError, match=r"data\.split=0\.9 splits a flat folder, and '.*images' has splits; leave data"
    ):
        open_layout("folder", folder, 0.9)


def test_two_folders_for_one_split(folder: Path) -> None:
    (folder / "images/validation").mkdir()
    with pytest.raises(UserError, match=r"images' holds val/ and validation/, both for val; rename or merge them"):
        open_layout("folder", folder)


def test_a_split_that_is_missing_beside_one_of_another_name(folder: Path) -> None:
    for kind in ("images", "labels"):
        (folder / kind / "train").rename(folder / kind / "Training")
        shutil.rmtree(folder / kind / "val")
    with pytest.raises(UserError, match=r"lacks images/val/, labels/val/; dataset 'folder' needs images/Training/"):
        open_layout("folder", folder)


def test_folders_that_look_like_splits_are_to_be_renamed(folder: Path) -> None:
    """data.split would train on images of val."""
    for kind in ("images", "labels"):
        (folder / kind / "train").rename(folder / kind / "train2017")
        (folder / kind / "val").rename(folder / kind / "my-Val")
    with pytest.raises(UserError, match=r"holds my-Val/, train2017/, which look like splits; rename them") as raised:
        open_layout("folder", folder)
    assert "data.split" not in str(raised.value)
    for kind in ("images", "labels"):
        (folder / kind / "train2017").rename(folder / kind / "trainstation")
        (folder / kind / "my-Val").rename(folder / kind / "Valencia")
    with pytest.raises(UserError, match=r"give data\.split=0\.9"):
        open_layout("folder", folder)


def test_each_split_has_an_image(flat: Path) -> None:
    assert len(names(flat, 0.01)["train"]) == 1
    assert len(names(flat, 0.99)["val"]) == 1


def test_a_flat_folder_without_a_share_says_what_to_give(flat: Path) -> None:
    with pytest.raises(UserError, match=r"holds images/ and labels/ without train/ and val/; give data\.split=0\.9"):
        open_layout("folder", flat)
    assert len(names(flat, 0.9)["train"]) == 9


def test_subfolders_may_be_links(folder: Path, tmp_path: Path, write) -> None:
    """A town on another disk, and all test images."""
    for kind, values in (("images", np.zeros((6, 8, 3), np.uint8)), ("labels", 1)):
        for name in ("far/x", "tests/y"):
            write(tmp_path / name.replace("/", f"/{kind}/") / "1.png", values)
        (folder / kind / "train/far").symlink_to(tmp_path / "far" / kind)
        (folder / kind / "test").mkdir()
        (folder / kind / "test/all").symlink_to(tmp_path / "tests" / kind)
        (folder / kind / "train/all").symlink_to("..")  # leads back: val is not part of train
    layout = open_layout("folder", folder)
    train, _, test = layout.splits
    assert [path.relative_to(folder / "images/train").as_posix() for path in train.images] == [
        "far/x/1.png",
        *(f"town/train{i}.png" for i in range(3)),
    ]
    assert [path.relative_to(folder).as_posix() for path in test.labels] == ["labels/test/all/y/1.png"]
    assert open_dataset("folder", folder)[0][1].unique().tolist() == [1]


def test_a_pair_of_links_to_missing_files_is_not_left_out(folder: Path) -> None:
    for kind in ("images", "labels"):
        (folder / kind / "train/lost.png").symlink_to("nowhere.png")
    with pytest.raises(UserError, match=r"cannot read '.*lost\.png'"):
        open_dataset("folder", folder)


def test_a_share_where_there_are_splits_is_an_error(folder: Path, camvid: Path) -> None:
    with pytest.raises(
        UserError, match=r"data\.split=0\.9 splits a flat folder, and '.*images' has splits; leave data"
    ):
        open_layout("folder", folder, 0.9)
    with pytest.raises(UserError, match=r"data\.split=0\.9 splits a flat folder, and dataset 'camvid' has splits"):
        open_layout("camvid", camvid, 0.9)


def test_test_images_without_labels_are_for_predict(folder: Path, write, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "segdistill")
    write(folder / "images/test/a.png", np.zeros((6, 8, 3), np.uint8))
    for _ in range(2):
        assert [split.name for split in open_layout("folder", folder).splits] == ["train", "val"]
    hint = "has no labels: networks are scored on val; use `segdistill predict`"
    assert len([line for line in caplog.messages if hint in line]) == 1
    write(folder / "labels/test/a.png", 0)
    open_layout.__globals__["folder"]._is_labeled.cache_clear()
    assert [split.name for split in open_layout("folder", folder).splits] == ["train", "val", "test"]


def test_further_keys_are_named_and_passed_over(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "segdistill")
    described = {"classes": ["a", "b", "c"], "name": "mine", "split": "train", "license": "CC0"}
    (folder / "classes.json").write_text(json.dumps(described))
    for _ in range(2):
        assert open_layout("folder", folder).classes.names == ("a", "b", "c")
    assert [line for line in caplog.messages if "unknown keys" in line] == [
        f"'{folder / 'classes.json'}' has unknown keys, which are ignored: name, split, license"
    ]


@pytest.mark.parametrize(
    ("key", "meant"), [("pallete", "palette"), ("ignore_idx", "ignore_index"), ("clases", "classes")]
)
def test_a_key_near_a_known_one_is_an_error(folder: Path, key: str, meant: str) -> None:
    (folder / "classes.json").write_text(json.dumps({"classes": ["a", "b", "c"], key: 3}))
    with pytest.raises(UserError, match=f"unknown key '{key}'; did you mean '{meant}'"):
        open_layout("folder", folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("annotations/instances.json", '{"images": [], "annotations": [], "categories": []}', "COCO .*annToMask"),
        ("labels/train/a.txt", "0 0.1 0.1 0.2 0.2 0.3 0.3", r"YOLO annotations \(labels/train/a\.txt\).* polygon"),
        ("annotations.xml", "<?xml?>\n<annotations>\n</annotations>", "CVAT annotations .*'Segmentation mask 1.1'"),
        ("images/train/a.json", '{"shapes": []}', r"labelme annotations .* labelme2voc\.py"),
    ],
)
def test_annotations_of_other_programs_say_how_to_get_masks(
    tmp_path: Path, write, file: str, content: str, message: str
) -> None:
    write(tmp_path / "images/train/a.png", np.zeros((6, 8, 3), np.uint8))
    write(tmp_path / "images/val/a.png", np.zeros((6, 8, 3), np.uint8))
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=message):
        open_layout("folder", tmp_path)
    write(tmp_path / "labels/train/a.png", 0)  # the masks are there
    write(tmp_path / "labels/val/a.png", 0)
    assert len(open_layout("folder", tmp_path).splits) == 2


def test_images_of_both_splits_are_found_by_their_content(folder: Path) -> None:
    train, val = (open_dataset("folder", folder, split) for split in ("train", "val"))
    assert repeated_images(train, val, range(2)) == ["val0", "val1"]  # images 0 and 1 of the fixture are alike
    image = folder / "images/val/town/val1.png"
    image.write_bytes(image.read_bytes()[:-1] + b"x")  # of equal size
    assert repeated_images(train, val, range(2)) == ["val0"]
    shutil.copy(folder / "images/train/town/train2.png", image)
    assert repeated_images(train, val, range(1, 2)) == ["val1"]
