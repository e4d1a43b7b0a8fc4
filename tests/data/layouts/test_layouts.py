import json
import subprocess
import sys
from pathlib import Path

import pytest

from segdistill.data import DATASET_CARDS, DATASETS, dataset_card, open_layout
from segdistill.errors import UserError

TRAIN_VAL = "images/train/, images/val/, labels/train/, labels/val/"


def describe(root: Path, text: object) -> None:
    (root / "classes.json").write_text(text if isinstance(text, str) else json.dumps(text))


def test_camvid_pairs_by_stem_in_order(camvid: Path) -> None:
    layout = open_layout("camvid", camvid)
    assert [split.name for split in layout.splits] == ["train", "val", "test"]
    train = layout.split("train")
    assert train.images == (camvid / "train/a.webp", camvid / "train/b.webp")
    assert train.labels == (camvid / "trainannot/a.png", camvid / "trainannot/b.png")
    assert layout.classes is not None
    assert len(layout.classes) == 11
    assert layout.classes.names[4] == "pavement"
    assert layout.void == 11


def test_folder_pairs_by_path_and_leaves_other_files_alone(folder: Path) -> None:
    (folder / "images/train/town/notes.txt").write_text("")
    (folder / "images/train/town/._train0.png").write_text("")  # macOS puts these beside real files
    train = open_layout("folder", str(folder)).split("train")
    assert train.images == tuple(folder / f"images/train/town/train{i}.png" for i in range(3))
    assert train.labels == tuple(folder / f"labels/train/town/train{i}.png" for i in range(3))


def test_same_name_in_two_folders_is_two_images(folder: Path, write) -> None:
    for kind in ("images", "labels"):
        write(folder / kind / "train" / "city" / "train0.png")
    train = open_layout("folder", folder).split("train")
    assert len(train.images) == 4
    assert train.labels[0] == folder / "labels/train/city/train0.png"


def test_classes_json(folder: Path) -> None:
    describe(folder, {"classes": ["a", "b"], "ignore_index": 0, "palette": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]})
    layout = open_layout("folder", folder)
    assert layout.classes is not None
    assert layout.classes.names == ("a", "b")
    assert layout.classes.palette == ((1, 2, 3), (4, 5, 6))
    assert layout.classes.ignore_index == 255  # in tensors; 0 is what the files hold
    assert layout.void == 0
    assert layout.colors == ((1, 2, 3), (4, 5, 6), (7, 8, 9))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"cannot read '.*classes.json' as JSON: .*line 1"),
        ([], 'must be an object with "classes"'),
        ({}, 'must be an object with "classes"'),
        ({"classes": ["a", "b"], "ignore_indx": 0}, "unknown key 'ignore_indx'; did you mean 'ignore_index'"),
        ({"classes": "a b"}, "must be a list of names, got 'a b'"),
        ({"classes": ["a", ""]}, "must be a list of names"),
        ({"classes": ["a", "a"]}, "2 to 255 distinct names"),
        ({"classes": ["a"]}, "2 to 255 distinct names, got 1"),
        ({"classes": [str(i) for i in range(256)]}, "2 to 255 distinct names, got 256"),
        ({"classes": ["a", "b"], "ignore_index": -1}, "label value in 0..65535, got -1"),
        ({"classes": ["a", "b"], "ignore_index": True}, "label value in 0..65535, got True"),
        ({"classes": ["a", "b"], "palette": [[0, 0, 0]]}, "must be 2 colors .* got 1"),
        ({"classes": ["a", "b"], "palette": "viridis"}, "must be 2 colors .* got 'viridis'"),
        ({"classes": ["a", "b"], "palette": [[0, 0, 0], [0, 0, 256]]}, r"0..255, got \[0, 0, 256\]"),
        ({"classes": ["a", "b"], "palette": [[9, 9, 9], [9, 9, 9]]}, "distinct colors"),
    ],
)
def test_bad_classes_json(folder: Path, content: object, message: str) -> None:
    describe(folder, content)
    with pytest.raises(UserError, match=message) as caught:
        open_layout("folder", folder)
    assert "\n" not in str(caught.value)


def test_names() -> None:
    assert set(DATASETS) == {
        "ade20k",
        "camvid",
        "cityscapes",
        "cocostuff",
        "folder",
        "hf",
        "imagenet",
        "scenes",
        "shapes",
        "voc",
    }
    with pytest.raises(UserError, match="unknown dataset 'camvidd'; did you mean 'camvid'"):
        open_layout("camvidd", ".")


def test_every_card_says_what_and_where() -> None:
    for name, card in DATASET_CARDS.items():
        assert card.name == name == dataset_card(name).name
        assert all((card.about, card.source, card.terms))
        assert max(map(len, card.layout.splitlines()), default=0) <= 120
    with pytest.raises(UserError, match="unknown dataset 'citiscapes'; did you mean 'cityscapes'"):
        dataset_card("citiscapes")


def test_scenes_take_no_root() -> None:
    assert [(split.name, split.images) for split in open_layout("scenes").splits] == [
        ("train", ()),
        ("val", ()),
        ("test", ()),
    ]
    with pytest.raises(UserError, match="'scenes' is generated but root 'here' was given"):
        open_layout("scenes", "here")


def test_no_root() -> None:
    with pytest.raises(UserError, match=r"dataset 'camvid' needs a root: set data\.root"):
        open_layout("camvid")


def test_no_such_folder_names_the_nearest(camvid: Path) -> None:
    with pytest.raises(UserError, match=r"no folder '.*/CamVd'; did you mean '.*/CamVid'\?"):
        open_layout("camvid", camvid.parent / "CamVd")
    with pytest.raises(UserError, match=rf"no folder '.*'; '{camvid.parent}' exists and holds CamVid"):
        open_layout("camvid", camvid.parent / "zzz" / "yyy")


def test_root_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_text("")
    with pytest.raises(UserError, match=r"set\.zip' is a file; .* unpacked"):
        open_layout("folder", tmp_path / "set.zip")


def test_wrong_layout_says_what_is_there(tmp_path: Path) -> None:
    for name in ("JPEGImages", "SegmentationClass"):
        (tmp_path / name).mkdir()
    expected = rf"not laid out as 'folder': expected {TRAIN_VAL}; it holds JPEGImages, SegmentationClass"
    with pytest.raises(UserError, match=expected):
        open_layout("folder", tmp_path)


def test_wrong_layout_that_is_another_dataset(camvid: Path, folder: Path) -> None:
    with pytest.raises(UserError, match=r"set data\.name=camvid"):
        open_layout("folder", camvid)
    with pytest.raises(UserError, match=r"set data\.name=folder"):
        open_layout("camvid", folder)


def test_one_folder_too_high(camvid: Path) -> None:
    with pytest.raises(UserError, match=rf"did you mean '{camvid}'\?"):
        open_layout("camvid", camvid.parent)


def test_missing_split(camvid: Path) -> None:
    (camvid / "val").rename(camvid / "validation")
    with pytest.raises(UserError, match=r"lacks val/; dataset 'camvid' needs train/, trainannot/, val/"):
        open_layout("camvid", camvid)


def test_test_split_is_optional_but_named(folder: Path, camvid: Path) -> None:
    with pytest.raises(UserError, match=r"unknown split 'test'; there are: train, val in dataset 'folder'"):
        open_layout("folder", folder).split("test")
    (camvid / "testannot").rename(camvid / "elsewhere")
    with pytest.raises(UserError, match=r"no folder '.*testannot' for the masks"):
        open_layout("camvid", camvid)


def test_no_images(folder: Path) -> None:
    for path in (folder / "images/val").rglob("*.png"):
        path.unlink()
    with pytest.raises(UserError, match=r"no images in '.*images/val'; expected .*\.webp"):
        open_layout("folder", folder)


def test_image_without_mask(folder: Path) -> None:
    (folder / "labels/train/town/train1.png").unlink()
    message = r"1 of 3 images in '.*images/train' have no mask in '.*labels/train': town/train1;"
    with pytest.raises(UserError, match=message):
        open_layout("folder", folder)


def test_jpeg_masks_are_no_masks(folder: Path) -> None:
    mask = folder / "labels/train/town/train1.png"
    mask.rename(mask.with_suffix(".jpg"))
    with pytest.raises(UserError, match=r"town/train1; a mask .* ends in \.bmp, \.png, \.tif, \.tiff"):
        open_layout("folder", folder)


def test_mask_without_image(folder: Path) -> None:
    (folder / "images/train/town/train2.png").unlink()
    with pytest.raises(UserError, match=r"1 of 3 masks in '.*labels/train' have no image .*: town/train2;"):
        open_layout("folder", folder)


def test_two_images_of_one_name(folder: Path, write) -> None:
    write(folder / "images/train/town/train0.bmp")
    with pytest.raises(UserError, match=r"train0\.(png|bmp)' and .* differ only in their suffix"):
        open_layout("folder", folder)


def test_torch_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys, segdistill.data as data\n"
        f"try: data.open_layout('camvid', {str(tmp_path)!r})\n"
        "except ValueError: pass\n"
        "else: raise SystemExit('no error')\n"
        "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules), sorted(sys.modules)\n"
        "assert data.open_dataset and 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_exists() -> None:
    import segdistill.data as data

    assert set(data.__all__) == set(dir(data))
    for name in data.__all__:
        assert getattr(data, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        data.nothing  # noqa: B018
