import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segdistill.data import open_dataset, scan_labels
from segdistill.errors import UserError

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8)


@pytest.fixture
def named(folder: Path) -> Path:
    (folder / "classes.json").write_text(json.dumps({"classes": ["a", "b", "c"]}))
    return folder


def mask_of(folder: Path, item: int) -> Path:
    return folder / f"labels/train/town/train{item}.png"


def image_of(folder: Path, item: int) -> Path:
    return folder / f"images/train/town/train{item}.png"


def test_item(named: Path, write) -> None:
    rgb = np.stack([RAMP, RAMP + 50, RAMP + 100], axis=-1)
    write(image_of(named, 2), rgb)
    write(mask_of(named, 2), np.where(RAMP < 40, 1, 255).astype(np.uint8))
    data = open_dataset("folder", named)
    image, labels = data[2]
    assert image.dtype == labels.dtype == torch.uint8
    assert torch.equal(image.permute(1, 2, 0), torch.from_numpy(rgb))
    assert labels.tolist() == [[1] * 8] * 5 + [[255] * 8]
    assert len(data) == 3
    assert data.name(2) == "train2"
    assert data.path(2) == image_of(named, 2)
    with pytest.raises(IndexError, match=r"3 is outside 0\.\.2"):
        data[3]


def test_camvid_void_becomes_255(camvid: Path) -> None:
    labels = open_dataset("camvid", camvid, "test")[0][1]
    assert labels.flatten().tolist() == [*range(11), 255]


def test_split_that_is_not_there(named: Path) -> None:
    with pytest.raises(UserError, match="unknown split 'test'; there are: train, val"):
        open_dataset("folder", named, "test")


# Masks


@pytest.mark.parametrize("mode", ["P", "1", "I;16", "I"])
def test_masks_of_any_index_mode(named: Path, mode: str) -> None:
    values = (RAMP % 2).astype({"I;16": np.uint16, "I": np.int32, "1": bool}.get(mode, np.uint8))
    picture = Image.fromarray(values)
    if mode == "P":
        picture = Image.frombytes("P", (8, 6), values.tobytes())
        picture.putpalette([200, 0, 0, 0, 200, 0])  # colors must not matter
    path = mask_of(named, 0)
    path.unlink()
    path = path.with_suffix(".tif" if mode == "I" else ".png")  # PNG has no 32 bits
    picture.save(path)
    with Image.open(path) as written:
        assert written.mode == mode
    labels = open_dataset("folder", named)[0][1]
    assert torch.equal(labels, torch.from_numpy(RAMP % 2))


def test_label_out_of_range_names_file_value_range_and_count(named: Path, write) -> None:
    write(mask_of(named, 1), np.where(RAMP < 5, 3, np.where(RAMP < 7, 77, 0)).astype(np.uint8))
    message = r"mask '.*train1\.png' has labels 3, 77 in 7 pixels; expected 0\.\.2, or 255 for void"
    with pytest.raises(UserError, match=message):
        open_dataset("folder", named)[1]


def test_16_bit_values_do_not_wrap(named: Path, write) -> None:
    write(mask_of(named, 1), np.full((6, 8), 256, np.uint16))  # 0 in 8 bits
    with pytest.raises(UserError, match="has label 256 in 48 pixels"):
        open_dataset("folder", named)[1]


def test_ignore_index_of_the_files(folder: Path, write) -> None:
    (folder / "classes.json").write_text(json.dumps({"classes": ["a", "b"], "ignore_index": 1000}))
    write(mask_of(folder, 0), np.where(RAMP < 4, np.uint16(1000), RAMP % 2))
    write(mask_of(folder, 2), 2)
    data = open_dataset("folder", folder)
    assert data[0][1][0].tolist() == [255, 255, 255, 255, 0, 1, 0, 1]
    with pytest.raises(UserError, match=r"label 2 in 48 pixels; expected 0\.\.1, or 255 or 1000 for void"):
        data[2]


def test_mask_of_another_size(named: Path, write) -> None:
    write(mask_of(named, 1), 0, (3, 4))
    with pytest.raises(UserError, match=r"train1\.png' is 4x3 but its image '.*train1\.png' is 8x6"):
        open_dataset("folder", named)[1]


def test_rgb_mask(named: Path, write) -> None:
    write(mask_of(named, 1), np.full((6, 8, 3), [1, 2, 3], np.uint8))
    with pytest.raises(UserError, match=r"train1\.png' holds colors \(RGB\), expected one class index"):
        open_dataset("folder", named)[1]


def test_real_rgb_masks(shared: Path, tmp_path: Path) -> None:
    source = shared / "layouts/voc_rgb_masks/VOCdevkit/VOC2012"
    for split, stem in (("train", "0338"), ("val", "0115")):
        for kind, name in (("images", f"JPEGImages/{stem}.jpg"), ("labels", f"SegmentationClass/{stem}.png")):
            target = tmp_path / kind / split / Path(name).name
            target.parent.mkdir(parents=True)
            target.write_bytes((source / name).read_bytes())
    with pytest.raises(UserError, match=r'0338\.png. holds colors \(RGB\).* "palette" in classes\.json'):
        open_dataset("folder", tmp_path)
    with Image.open(tmp_path / "labels/train/0338.png") as picture:
        colors = np.unique(np.asarray(picture).reshape(-1, 3), axis=0).tolist()
    names = [f"garment {i}" for i in range(len(colors))]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": names, "palette": colors}))
    data = open_dataset("folder", tmp_path)
    assert np.unique(data[0][1]).tolist() == list(range(len(colors)))


def test_palette_turns_colors_into_classes(folder: Path, write) -> None:
    colors = [[0, 0, 9], [200, 0, 0], [0, 7, 0]]  # a, b, void; not in the order of their codes
    (folder / "classes.json").write_text(json.dumps({"classes": ["a", "b"], "palette": colors}))
    rgb = np.array(colors, np.uint8)[RAMP % 3]
    write(mask_of(folder, 0), rgb)
    rgb = rgb.copy()
    rgb[0, :2] = 1, 2, 3
    write(mask_of(folder, 1), rgb)
    data = open_dataset("folder", folder)
    assert data[0][1].flatten().tolist() == [0, 1, 255] * 16
    with pytest.raises(UserError, match=r"train1\.png' has color \[1, 2, 3\] in 2 pixels"):
        data[1]


# Images


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_truncated_image(named: Path, suffix: str) -> None:
    path = image_of(named, 1).with_suffix(f".{suffix}")
    image_of(named, 1).unlink()
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match=rf"cannot read '.*train1\.{suffix}'"):
        open_dataset("folder", named)[1]


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_file_that_is_no_image(named: Path, content: bytes) -> None:
    image_of(named, 1).write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read '.*train1\.png': not an image"):
        open_dataset("folder", named)[1]


def test_damaged_mask_is_named(named: Path) -> None:
    mask_of(named, 1).write_bytes(mask_of(named, 1).read_bytes()[:45])
    with pytest.raises(UserError, match=r"cannot read '.*labels.*train1\.png'"):
        open_dataset("folder", named)[1]


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P"])
def test_other_image_modes_become_rgb(named: Path, mode: str) -> None:
    gray = np.broadcast_to(RAMP[..., None] * 5, (6, 8, 3))
    extra = {"transparency": b"\x00\x80"} if mode == "P" else {}
    Image.fromarray(np.ascontiguousarray(gray)).convert(mode).save(image_of(named, 0), **extra)
    image = open_dataset("folder", named)[0][0]
    assert image.shape == (3, 6, 8)
    # "P" reduces to a web palette with steps of 51 and dithers.
    assert (image.permute(1, 2, 0).numpy().astype(int) - gray).__abs__().max() <= (60 if mode == "P" else 0)


def test_16_bit_image(named: Path) -> None:
    Image.fromarray(np.full((6, 8), 5000, np.uint16)).save(image_of(named, 0))
    with pytest.raises(UserError, match=r"train0\.png' has more than 8 bits per channel"):
        open_dataset("folder", named)[0]


def test_exif_orientation(named: Path, write) -> None:
    upright = np.zeros((8, 6, 3), np.uint8)
    upright[0, 0] = 255  # top left of the upright picture
    lying = Image.fromarray(np.rot90(upright))  # turned by 90 degrees counter-clockwise
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees clockwise to see it upright"
    lying.save(image_of(named, 0), exif=exif)
    write(mask_of(named, 0), 0, (8, 6))
    data = open_dataset("folder", named)
    image, labels = data[0]
    assert image.shape == (3, 8, 6)
    assert labels.shape == (8, 6)
    assert image[:, 0, 0].tolist() == [255, 255, 255]
    assert image.sum() == 3 * 255
    assert scan_labels(data, [0]).problems == ()  # which reads the header alone


# Options


def test_scale_for_training_and_for_evaluation(named: Path, write) -> None:
    left_white = np.where(np.arange(8) < 4, 255, 0).astype(np.uint8)
    write(image_of(named, 0), np.broadcast_to(left_white[None, :, None], (6, 8, 3)).copy())
    write(mask_of(named, 0), np.broadcast_to(left_white > 0, (6, 8)).astype(np.uint8))
    image, labels = open_dataset("folder", named, scale=0.5)[0]
    assert labels.tolist() == [[1, 1, 0, 0]] * 3
    assert image.shape == (3, 3, 4)
    # Antialiased halving is a triangle 4 wide: weights 1, 3, 3, 1 of 8 around the edge.
    assert image[0, 1].tolist() == pytest.approx([255, 255 * 7 / 8, 255 / 8, 0], abs=1)
    image, labels = open_dataset("folder", named, scale=0.5, native_labels=True)[0]
    assert image.shape == (3, 3, 4)
    assert labels.tolist() == [[1] * 4 + [0] * 4] * 6


@pytest.mark.parametrize(("scale", "columns"), [(0.25, [2, 6, 10]), (3, [column // 3 for column in range(36)])])
def test_scaled_labels_are_those_under_the_centers_of_pixels(
    named: Path, write, scale: float, columns: list[int]
) -> None:
    """By hand: the center of column c of 3 lies at 4 (c + 1/2) of 12, where the corner lies at 4 c."""
    write(image_of(named, 0), np.zeros((12, 12, 3), np.uint8))
    for axis in (0, 1):
        write(mask_of(named, 0), np.broadcast_to(np.arange(12, dtype=np.uint8), (12, 12)).copy().swapaxes(0, axis))
        (named / "classes.json").write_text(json.dumps({"classes": [str(number) for number in range(12)]}))
        labels = open_dataset("folder", named, scale=scale)[0][1]
        assert labels.swapaxes(0, axis).tolist() == [columns] * len(columns)


@pytest.mark.parametrize("scale", [0, -1, 17])
def test_bad_scale(named: Path, scale: float) -> None:
    with pytest.raises(UserError, match=rf"scale must be in \(0, 16\], got {scale}"):
        open_dataset("folder", named, scale=scale)


def test_cache_reads_each_file_once(named: Path) -> None:
    kept, fresh = open_dataset("folder", named, cache=True), open_dataset("folder", named)
    before = kept[1]
    image_of(named, 1).unlink()
    assert all(torch.equal(a, b) for a, b in zip(before, kept[1], strict=True))
    with pytest.raises(UserError, match=r"cannot read '.*train1\.png': .*No such file"):
        fresh[1]


# Classes that only the masks know


def test_classes_are_counted_and_said(folder: Path, write, caplog: pytest.LogCaptureFixture) -> None:
    write(mask_of(folder, 0), np.array([[0, 255, 1, 1]] * 6, np.uint8).repeat(2, 1))
    with caplog.at_level(logging.WARNING):
        data = open_dataset("folder", folder, "val")
    assert data.classes.names == ("class 0", "class 1", "class 2")
    assert "5 masks" in caplog.text
    assert "classes 0..2" in caplog.text


@pytest.mark.parametrize(("values", "shown"), [((0, 0, 0), "0"), ((0, 1, 7), "0, 1, 7")])
def test_values_that_cannot_be_counted(folder: Path, write, values: tuple[int, ...], shown: str) -> None:
    for item, value in enumerate(values):
        write(mask_of(folder, item), value)
    with pytest.raises(UserError, match=rf"labels' hold the values {shown} in addition to 255 .*name the classes"):
        open_dataset("folder", folder)


# Looking through all masks


def test_scan_counts_pixels(camvid: Path) -> None:
    report = scan_labels(open_dataset("camvid", camvid))
    assert report.pixels == (2,) * 11
    assert report.void == 2
    assert report.masks == 2
    report.check()
    assert scan_labels(open_dataset("camvid", camvid), [0]).pixels == (1,) * 11


def test_scan_collects_every_problem(named: Path, write) -> None:
    write(mask_of(named, 0), 9)
    write(mask_of(named, 1), 0, (6, 7))
    report = scan_labels(open_dataset("folder", named))
    assert len(report.problems) == 2
    assert report.masks == 1
    assert report.pixels == (0, 0, 48)
    message = (
        r"2 of 3 masks or their images cannot be used: .*train0\.png' has label 9 in 48 pixels.*; .*train1\.png' is 7x6"
    )
    with pytest.raises(UserError, match=message):
        report.check()


def test_scan_shows_three_and_counts_the_rest(named: Path, write) -> None:
    for item in range(3, 8):
        write(image_of(named, item), np.zeros((6, 8, 3), np.uint8))
        write(mask_of(named, item), 9)
    with pytest.raises(UserError, match=r"5 of 8 masks .*train3.*train4.*train5.*; and 2 more$"):
        scan_labels(open_dataset("folder", named)).check()


def test_real_camvid(shared: Path) -> None:
    root = shared / "data/camvid"
    sizes = {split: len(open_dataset("camvid", root, split)) for split in ("train", "val", "test")}
    assert sizes == {"train": 367, "val": 101, "test": 233}
    data = open_dataset("camvid", root, "val", scale=0.5, native_labels=True)
    report = scan_labels(data)
    report.check()
    percent = np.array([*report.pixels, report.void]) / (101 * 360 * 480) * 100
    published = [9.2, 26.0, 0.56, 29.0, 8.7, 16.3, 0.89, 3.08, 1.7, 0.65, 2.22, 1.7]
    assert percent.tolist() == pytest.approx(published, abs=0.06)
    image, labels = data[0]
    assert image.shape == (3, 180, 240)
    assert labels.shape == (360, 480)
