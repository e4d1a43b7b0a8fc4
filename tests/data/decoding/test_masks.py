"""Masks as other programs write them: read where their meaning is certain, refused in one line where it is not."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdistill.data import SegmentationDataset, open_dataset, scan_labels
from segdistill.data.decoding.images import InMemory
from segdistill.data.decoding.masks import read_mask
from segdistill.errors import UserError
from tests.raw_pictures import GRAY_ALPHA, INDEXED, RGB, RGBA, png, tiff

INDICES = np.array([[0, 1, 2, 3, 1], [3, 2, 1, 0, 2]])


def save(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("num_classes", [4, 60, 254])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_indices_of_few_bits_are_what_is_stored(tmp_path: Path, bits: int, num_classes: int) -> None:
    values = INDICES % 2**bits
    content = png(values, bits)
    for source in (save(tmp_path / "m.png", content), InMemory(content, "row 0")):  # a file, a cell of a table
        assert read_mask(source, num_classes).tolist() == values.tolist()


def test_an_indexed_mask_is_read_by_its_indices(folder: Path) -> None:
    """Its palette does not matter if it has other colors than the classes."""
    description = {"classes": ["a", "b", "c"], "palette": [[0, 0, 0], [200, 0, 0], [0, 200, 0]]}
    (folder / "classes.json").write_text(json.dumps(description))
    values = (np.arange(48, dtype=np.uint8) % 3).reshape(6, 8)
    picture = Image.frombytes("P", (8, 6), values.tobytes())
    picture.putpalette([9, 9, 9, 0, 0, 0, 200, 0, 0])
    picture.save(folder / "labels/train/town/train0.png")
    assert open_dataset("folder", folder)[0][1].tolist() == values.tolist()


@pytest.mark.parametrize(("color", "channels"), [(RGB, 3), (GRAY_ALPHA, 2), (RGBA, 4)])
def test_16_bits_in_several_channels_are_refused_as_in_one(tmp_path: Path, color: int, channels: int) -> None:
    path = save(tmp_path / "a.png", png(np.full((4, 5, channels), 257), 16, color))
    with pytest.raises(UserError, match=r"mask '.*a\.png' has 16 bits in each of several channels \(RGBA?\)"):
        read_mask(path, 4)
    with pytest.raises(UserError, match="16 bits in each"):
        read_mask(path, 2, colors=((0, 0, 0), (1, 1, 1)))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_of_few_bits(tmp_path: Path, bits: int) -> None:
    values = INDICES % 2**bits
    assert read_mask(save(tmp_path / "m.png", png(values, bits, INDEXED)), 4).tolist() == values.tolist()


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4"])
def test_negative_labels_are_no_void(tmp_path: Path, dtype: str) -> None:
    """Pillow reads a byte of -1 as 255."""
    path = save(tmp_path / "m.tif", tiff(INDICES.astype(dtype)))
    assert read_mask(path, 4).tolist() == INDICES.tolist()
    save(path, tiff(np.where(INDICES == 3, -1, INDICES).astype(dtype)))
    with pytest.raises(UserError, match=r"has label -1 in 2 pixels; expected 0\.\.3"):
        read_mask(path, 4)


def test_gray_that_pillow_turns_over(tmp_path: Path) -> None:
    """Class 0 would become 255, void."""
    path = save(tmp_path / "m.tif", tiff(INDICES.astype(np.uint8), white_is_zero=True))
    with pytest.raises(UserError, match=r"m\.tif' is a TIFF in which 0 is white: .*; save its class indices as PNG"):
        read_mask(path, 4)


def test_whole_floats_are_labels(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    Image.fromarray(INDICES.astype(np.float32)).save(path)
    assert read_mask(path, 4).tolist() == INDICES.tolist()
    Image.fromarray(np.where(INDICES == 3, -9999, INDICES).astype(np.float32)).save(path)
    with pytest.raises(UserError, match=r"has label -9999 in 2 pixels; expected 0\.\.3"):
        read_mask(path, 4)


@pytest.mark.parametrize("value", [0.5, np.nan, -np.inf, -3.4028235e38])
def test_other_floats_are_no_labels(tmp_path: Path, value: float) -> None:
    path = tmp_path / "m.tif"
    Image.fromarray(np.where(INDICES == 3, value, INDICES).astype(np.float32)).save(path)
    message = rf"m\.tif' holds floats that are not whole numbers of 32 bits, for example {value:g}, in 2 pixels"
    with pytest.raises(UserError, match=re.escape(message).replace(r"m\\\.", "m.")):
        read_mask(path, 4)


@pytest.mark.parametrize(
    ("mode", "what"),
    [
        ("RGB", "three equal channels"),
        ("LA", "an opaque alpha channel"),
        ("RGBA", "three equal channels and an opaque alpha channel"),
    ],
)
def test_gray_in_several_channels_is_read_and_said_once_a_data_set(
    folder: Path, mode: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (folder / "labels").rglob("*.png"):
        with Image.open(path) as picture:
            picture.convert(mode).save(path)
    line = f"masks under '{folder / 'labels'}' have {what}: their values are the class indices"
    assert open_dataset("folder", folder).classes.names == ("class 0", "class 1", "class 2")
    assert caplog.messages[0] == line  # once for all masks in which classes were counted
    for split in ("train", "val"):
        scan_labels(open_dataset("folder", folder, split)).check()
    assert caplog.messages.count(line) == 1
    (folder / "classes.json").write_text(json.dumps({"classes": ["a", "b", "c"]}))
    moved = folder.rename(folder.with_name("moved"))
    scan_labels(open_dataset("folder", moved)).check()
    assert caplog.messages[-1] == line.replace(str(folder), str(moved))  # another data set


def test_a_palette_with_an_opaque_alpha_channel(tmp_path: Path) -> None:
    picture = Image.frombytes("P", (5, 2), INDICES.astype(np.uint8).tobytes())
    picture.putpalette([200, 0, 0, 0, 200, 0])
    picture.convert("PA").save(tmp_path / "m.tif")
    assert read_mask(tmp_path / "m.tif", 4).tolist() == INDICES.tolist()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_an_alpha_channel_that_says_something_is_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "m.png"
    picture = Image.fromarray(INDICES.astype(np.uint8)).convert(mode)
    picture.putalpha(Image.fromarray(np.where(INDICES == 3, 0, 255).astype(np.uint8)))
    picture.save(path)
    with pytest.raises(UserError, match=rf"has transparent pixels \({mode}\), .* set void pixels to 255 and"):
        read_mask(path, 4)
    Image.fromarray(np.where(INDICES == 3, 255, INDICES).astype(np.uint8)).save(path)  # as it says
    assert read_mask(path, 4).tolist() == np.where(INDICES == 3, 255, INDICES).tolist()


def test_a_byte_order_mark_is_passed_over(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "segdistill")
    (folder / "classes.json").write_text(json.dumps({"classes": ["a", "b", "c"]}), encoding="utf-8-sig")
    for _ in range(2):
        assert open_dataset("folder", folder).classes.names == ("a", "b", "c")
    assert [message for message in caplog.messages if "byte-order mark" in message] == caplog.messages[:1]


def test_a_color_beside_the_palette_says_what_to_add(folder: Path) -> None:
    description = folder / "classes.json"
    labels = folder / "labels/train/town/train0.png"
    Image.new("RGB", (8, 6), (9, 8, 7)).save(labels)
    description.write_text(json.dumps({"classes": ["a", "b"], "palette": [[0, 0, 0], [200, 0, 0]]}))
    with pytest.raises(UserError, match=r"if \[9, 8, 7\] is void, add it to the end of \"palette\"; if it is a class"):
        open_dataset("folder", folder)[0]
    description.write_text(json.dumps({"classes": ["a", "b"], "palette": [[0, 0, 0], [200, 0, 0], [9, 8, 7]]}))
    assert open_dataset("folder", folder)[0][1].unique().tolist() == [255]
    description.write_text(json.dumps({"classes": ["a", "b", "c"], "palette": [[0, 0, 0], [200, 0, 0], [9, 8, 7]]}))
    assert open_dataset("folder", folder)[0][1].unique().tolist() == [2]


def described(folder: Path, names: str, palette: list[list[int]]) -> SegmentationDataset:
    (folder / "classes.json").write_text(json.dumps({"classes": list(names), "palette": palette}))
    return open_dataset("folder", folder)


def test_a_color_beside_a_palette_with_void(folder: Path) -> None:
    labels = folder / "labels/train/town/train0.png"
    Image.new("RGB", (8, 6), (9, 8, 7)).save(labels)
    message = r'to "palette" before its last entry, the color of void; void pixels must have that color, \[0, 0, 9\]'
    with pytest.raises(UserError, match=message):
        described(folder, "ab", [[0, 0, 0], [200, 0, 0], [0, 0, 9]])[0]
    data = described(folder, "abc", [[0, 0, 0], [200, 0, 0], [9, 8, 7], [0, 0, 9]])
    assert data[0][1].unique().tolist() == [2]
    Image.new("RGB", (8, 6), (0, 0, 9)).save(labels)
    assert data[0][1].unique().tolist() == [255]


def test_colors_beside_a_palette(folder: Path) -> None:
    labels = folder / "labels/train/town/train0.png"
    picture = Image.new("RGB", (8, 6), (9, 8, 7))
    picture.putpixel((0, 0), (1, 2, 3))
    picture.save(labels)
    message = r'colors \[1, 2, 3\], \[9, 8, 7\] in 48 .* to the end of "classes" and .* to the end of "palette" \(one'
    with pytest.raises(UserError, match=message):
        described(folder, "ab", [[0, 0, 0], [200, 0, 0]])[0]
    data = described(folder, "abcd", [[0, 0, 0], [200, 0, 0], [1, 2, 3], [9, 8, 7]])
    assert data[0][1].unique().tolist() == [2, 3]


def test_indices_in_three_channels_beside_a_palette(folder: Path) -> None:
    labels = folder / "labels/train/town/train0.png"
    Image.new("RGB", (8, 6), (1, 1, 1)).save(labels)
    data = described(folder, "abc", [[0, 0, 0], [200, 0, 0], [0, 200, 0]])
    with pytest.raises(UserError, match="like class indices in three equal channels: save one of them"):
        data[0]
    Image.new("L", (8, 6), 1).save(labels)
    assert data[0][1].unique().tolist() == [1]


def test_an_indexed_mask_with_the_colors_of_classes_at_other_indices(folder: Path) -> None:
    """Its indices and its colors are different classes, and neither is certain."""
    labels = folder / "labels/train/town/train0.png"
    data = described(folder, "abc", [[0, 0, 0], [200, 0, 0], [0, 200, 0]])
    for index in (2, 7):
        picture = Image.frombytes("P", (8, 6), bytes([0, index, 255] * 16))
        picture.putpalette([0, 0, 0] * index + [200, 0, 0] + [0] * 3 * (255 - index))
        picture.save(labels)
        message = rf"has index {index} for \[200, 0, 0\], the color of class 1; .*: save it in RGB, or without palette"
        with pytest.raises(UserError, match=message):
            data[0]
    Image.frombytes("L", (8, 6), bytes([0, 2, 255] * 16)).save(labels)  # the second remedy
    assert data[0][1].unique().tolist() == [0, 2, 255]
    picture = Image.frombytes("P", (8, 6), bytes([0, 7] * 24))
    picture.putpalette([0, 0, 0] * 7 + [200, 0, 0])
    picture.convert("RGB").save(labels)  # the first
    assert data[0][1].unique().tolist() == [0, 1]


@pytest.mark.parametrize("rest", [(0, 0, 0), (7, 7, 7)])  # of the palette, which void pixels show
def test_void_in_an_indexed_mask_may_have_any_color(folder: Path, rest: tuple[int, ...], caplog) -> None:
    labels = folder / "labels/train/town/train0.png"
    data = described(folder, "abc", [[0, 0, 0], [200, 0, 0], [0, 200, 0]])
    picture = Image.frombytes("P", (8, 6), bytes([0, 1, 255] * 16))
    picture.putpalette([0, 0, 0, 200, 0, 0, *rest * 254])
    picture.save(labels)
    assert data[0][1].unique().tolist() == [0, 1, 255]
    assert not caplog.messages
