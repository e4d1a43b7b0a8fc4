"""Masks as other programs write them: read where their meaning is certain, refused in one line where it is not."""

import json
import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdistill.data import open_dataset
from segdistill.data.masks import read_mask
from segdistill.data.reading import read_image
from segdistill.errors import UserError

INDICES = np.array([[0, 1, 2, 3, 1], [3, 2, 1, 0, 2]])


def write_png(path: Path, values: np.ndarray, bits: int, color_type: int = 0) -> Path:
    """Write a PNG of any bit depth, which Pillow does not: values (H, W), or (H, W, channels) with 16 bits."""
    height, width = values.shape[:2]
    rows = values.reshape(height, -1)
    if bits == 16:
        packed = [row.astype(">u2").tobytes() for row in rows]
    else:
        binary = ["".join(f"{value:0{bits}b}" for value in row) for row in rows]
        packed = [int(b.ljust(-(-len(b) // 8) * 8, "0"), 2).to_bytes(-(-len(b) // 8), "big") for b in binary]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in packed)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("num_classes", [4, 60, 254])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_indices_of_few_bits_are_what_is_stored(tmp_path: Path, bits: int, num_classes: int) -> None:
    values = INDICES % 2**bits
    assert read_mask(write_png(tmp_path / "m.png", values, bits), num_classes).tolist() == values.tolist()


def test_an_indexed_mask_is_read_by_its_indices_whatever_its_palette_shows(folder: Path) -> None:
    colors = [[0, 0, 0], [200, 0, 0], [0, 200, 0]]
    (folder / "classes.json").write_text(json.dumps({"classes": ["a", "b", "c"], "palette": colors[::-1]}))
    values = (np.arange(48, dtype=np.uint8) % 3).reshape(6, 8)
    picture = Image.frombytes("P", (8, 6), values.tobytes())
    picture.putpalette([value for color in colors for value in color])
    picture.save(folder / "labels/train/town/train0.png")
    assert open_dataset("folder", folder)[0][1].tolist() == values.tolist()


@pytest.mark.parametrize("color_type", [2, 4, 6])
def test_16_bits_in_several_channels_are_refused_as_in_one(tmp_path: Path, color_type: int) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (4, 5, {2: 3, 4: 2, 6: 4}[color_type]))
    path = write_png(tmp_path / "a.png", values, 16, color_type)
    with pytest.raises(UserError, match=r"image '.*a\.png' has more than 8 bits per channel \(.*16B\); convert it"):
        read_image(path)
    with pytest.raises(UserError, match=r"mask '.*a\.png' has 16 bits in each of several channels"):
        read_mask(path, 4)
    with pytest.raises(UserError, match="16 bits in each"):
        read_mask(path, 2, colours=((0, 0, 0), (1, 1, 1)))


def test_gray_images_of_few_bits_span_black_to_white(tmp_path: Path) -> None:
    assert np.unique(read_image(write_png(tmp_path / "a.png", INDICES, 2))).tolist() == [0, 85, 170, 255]


def test_whole_floats_are_labels(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    Image.fromarray(INDICES.astype(np.float32)).save(path)
    assert read_mask(path, 4).tolist() == INDICES.tolist()
    Image.fromarray(np.where(INDICES == 3, -9999, INDICES).astype(np.float32)).save(path)
    with pytest.raises(UserError, match=r"has label -9999 in 2 pixels; expected 0\.\.3"):
        read_mask(path, 4)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_other_floats_are_no_labels(tmp_path: Path, value: float) -> None:
    path = tmp_path / "m.tif"
    Image.fromarray(np.where(INDICES == 3, value, INDICES).astype(np.float32)).save(path)
    with pytest.raises(UserError, match=r"m\.tif' holds float values that are no whole numbers"):
        read_mask(path, 4)


@pytest.mark.parametrize("mode", ["RGB", "LA", "RGBA"])
def test_gray_in_several_channels_is_read_and_said_once(
    tmp_path: Path, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "segdistill")
    for name in ("a.png", "b.png"):
        Image.fromarray(INDICES.astype(np.uint8)).convert(mode).save(tmp_path / name)
        assert read_mask(tmp_path / name, 4).tolist() == INDICES.tolist()
    assert len(caplog.messages) == 1
    assert "gray values are the class indices" in caplog.messages[0]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_an_alpha_channel_that_says_something_is_refused(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(INDICES.astype(np.uint8)).convert(mode)
    picture.putalpha(Image.fromarray((INDICES * 80).astype(np.uint8)))
    picture.save(tmp_path / "m.png")
    with pytest.raises(UserError, match=rf"holds colours \({mode}\)"):
        read_mask(tmp_path / "m.png", 4)


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


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", b"GIF89a"])
def test_a_file_of_another_kind_starts_no_other_program(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(args)

    monkeypatch.setattr("subprocess.check_call", refuse)
    monkeypatch.setattr("subprocess.Popen", refuse)
    (tmp_path / "a.png").write_bytes(content)
    for read in (read_image, lambda path: read_mask(path, 4)):
        with pytest.raises(UserError, match=r"a\.png': not an image \(PNG, JPEG, WebP, BMP or TIFF\)"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("side", [9_500, 20_000])
def test_a_picture_that_fills_the_memory_is_refused_from_its_header(
    tmp_path: Path, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("1", (side, side)).save(tmp_path / "a.png")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("it was decoded"))
    for read in (read_image, lambda path: read_mask(path, 4)):
        with pytest.raises(UserError, match=r"at most 89 million are read at a time; cut it into tiles"):
            read(tmp_path / "a.png")
