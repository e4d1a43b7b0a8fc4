"""kornia-rs decodes plain RGB PNGs only, with the pixels of Pillow; all other files are Pillow's."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from segdistill.data.decoding import fast_png
from segdistill.data.decoding.fast_png import decoded_png
from segdistill.data.decoding.images import InMemory, read_image
from segdistill.errors import UserError
from tests.raw_pictures import GRAY, GRAY_ALPHA, INDEXED, RGB, RGBA, png

PIXELS = np.random.default_rng(0).integers(0, 256, (11, 7, 3)).astype(np.uint8)


def encoded(**options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG", **options)
    return file.getvalue()


def with_chunk(name: bytes, data: bytes) -> bytes:
    """Return a PNG with another chunk after its header."""
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    plain = encoded()
    return plain[:33] + chunk + plain[33:]


TEXT = PngImagePlugin.PngInfo()
TEXT.add_text("Software", "a program")
XMP = PngImagePlugin.PngInfo()
XMP.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
TURNED = Image.Exif()
TURNED[0x0112] = 6
RAW = PngImagePlugin.PngInfo()
RAW.add_text("Raw profile type exif", f"\nexif\n{len(TURNED.tobytes()):8}\n{TURNED.tobytes().hex()}")

PLAIN = {
    "default": encoded(),
    "stored": encoded(compress_level=0),
    "smallest": encoded(optimize=True),
    "resolution": encoded(dpi=(72, 72)),
    "program": encoded(pnginfo=TEXT),
    "gamma": with_chunk(b"gAMA", struct.pack(">I", 100_000)),
    "other gamma": with_chunk(b"gAMA", struct.pack(">I", 22_000)),
    "profile": encoded(icc_profile=b"a profile"),
    "background": with_chunk(b"bKGD", bytes(6)),
    "by hand": png(PIXELS, 8, RGB),
}
OTHERS = {
    "gray": png(PIXELS[..., 0], 8, GRAY),
    "indexed": png(PIXELS[..., 0] % 4, 2, INDEXED),
    "gray and alpha": png(PIXELS[..., :2], 8, GRAY_ALPHA),
    "alpha": png(PIXELS.repeat(2, -1)[..., :4], 8, RGBA),
    "transparent color": encoded(transparency=(1, 2, 3)),
    "turned": encoded(exif=TURNED),
    "turned in a text": encoded(pnginfo=RAW),
    "turned in a packet": encoded(pnginfo=XMP),
    "another chunk": with_chunk(b"abCd", b""),
    "more after the end": encoded() + b"\0" * 20,
    "a little after the end": encoded() + b"\0" * 5,
    "frames": with_chunk(b"acTL", struct.pack(">II", 1, 0)),
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes for which the decoder was called; it returns white images."""
    sizes: list[tuple[int, int]] = []

    def decode(content: bytes, size: tuple[int, int], mode: str) -> np.ndarray:
        assert mode == "rgb"
        sizes.append(size)
        return np.full((*size, 3), 255, np.uint8)

    monkeypatch.setattr(fast_png, "_decoder", lambda: decode)
    return sizes


@pytest.fixture
def library() -> None:
    pytest.importorskip("kornia_rs")
    fast_png._decoder.cache_clear()


def pillow(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        return np.array(picture.convert("RGB"))


@pytest.mark.parametrize("name", PLAIN)
def test_plain_files_are_decoded(name: str, asked: list[tuple[int, int]], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PLAIN[name])
    for source in (path, InMemory(PLAIN[name], "a cell")):
        assert (read_image(source) == 255).all()
    assert asked == [(11, 7)] * 2


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_left_to_pillow(name: str, asked: list[tuple[int, int]], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(OTHERS[name])
    assert decoded_png(path) is None
    assert read_image(path).shape == ((7, 11, 3) if name.startswith("turned") else (11, 7, 3))
    assert asked == []


def test_files_that_are_no_pngs(asked: list[tuple[int, int]], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for content in (b"", encoded()[:30], b"GIF89a" + bytes(40), png(PIXELS.astype(np.uint16) * 256, 16, RGB)):
        path.write_bytes(content)
        assert decoded_png(path) is None
    assert decoded_png(tmp_path / "missing.png") is None
    assert asked == []


def test_too_many_pixels(asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 76)
    with pytest.raises(UserError, match="has 7x11 pixels; at most"):
        read_image(path)
    assert asked == []


def test_without_the_library_pillow_decodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded())
    monkeypatch.setitem(__import__("sys").modules, "kornia_rs", None)
    monkeypatch.setitem(__import__("sys").modules, "kornia_rs.io", None)
    fast_png._decoder.cache_clear()
    try:
        assert decoded_png(path) is None
        assert np.array_equal(read_image(path), PIXELS)
    finally:
        fast_png._decoder.cache_clear()


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.usefixtures("library")
def test_pixels_are_pillows(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PLAIN[name])
    found = decoded_png(path)
    assert found is not None
    assert (found.dtype, found.shape, found.strides) == (np.uint8, (11, 7, 3), pillow(PLAIN[name]).strides)
    assert np.array_equal(found, pillow(PLAIN[name]))
    assert found.flags.writeable


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (64, 64), (301, 77)])
@pytest.mark.usefixtures("library")
def test_pixels_of_smooth_and_noisy_pictures_are_pillows(size: tuple[int, int]) -> None:
    """Encoders choose another filter for each kind of row."""
    numbers = np.random.default_rng(1)
    rows, columns = np.mgrid[: size[0], : size[1]]
    smooth = np.stack([rows, columns, rows + columns], axis=-1) % 256
    for values in (smooth, numbers.integers(0, 256, (*size, 3)), smooth * 0 + 7):
        file = io.BytesIO()
        Image.fromarray(values.astype(np.uint8)).save(file, "PNG")
        found = decoded_png(InMemory(file.getvalue(), "a cell"))
        assert found is not None
        assert np.array_equal(found, values.astype(np.uint8))


@pytest.mark.parametrize("change", [lambda all: all[:-40], lambda all: all[:60] + b"\1" + all[61:]])
@pytest.mark.usefixtures("library")
def test_a_damaged_file_is_named_by_pillows_error(change: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(change(encoded()))
    assert decoded_png(path) is None
    with pytest.raises(UserError, match=r"cannot read '.*a\.png'"):
        read_image(path)
