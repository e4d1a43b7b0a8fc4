import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from segdistill.data.decoding.depth import bits_per_channel
from segdistill.data.decoding.images import image_size, opened, read_image, read_upright, upright_size
from segdistill.data.decoding.masks import read_mask, read_values
from segdistill.errors import UserError
from tests.raw_pictures import GRAY, GRAY_ALPHA, INDEXED, RGB, RGBA, bmp_of_8_bits, png, tiff

RAMP = np.arange(48).reshape(6, 8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.png"


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_bits_are_those_of_the_file(path: Path, bits: int) -> None:
    for color in (GRAY, *[INDEXED] * (bits <= 8)):
        path.write_bytes(png(RAMP % 2, bits, color))
        with opened(path) as picture:
            assert bits_per_channel(picture) == bits


@pytest.mark.parametrize(("color", "channels"), [(RGB, 3), (GRAY_ALPHA, 2), (RGBA, 4)])
def test_16_bits_per_channel_are_refused_not_cut(path: Path, color: int, channels: int) -> None:
    """Pillow keeps the upper 8 of 16 bits: 12-bit values would become 0..15."""
    path.write_bytes(png(np.full((6, 8, channels), 4000), 16, color))
    for read in (read_image, image_size):  # the header tells, so a look at the data does too
        with pytest.raises(
            UserError, match=r"image '.*a\.png' has more than 8 bits per channel \(RGBA?, 16\); convert"
        ):
            read(path)


@pytest.mark.parametrize(("dtype", "shape"), [("u2", (6, 8, 3)), ("u2", (6, 8)), ("i4", (6, 8)), ("f4", (6, 8))])
def test_tiffs_of_more_than_8_bits(path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    path.write_bytes(tiff(np.full(shape, 4000, dtype)))
    with pytest.raises(UserError, match=r"has more than 8 bits per channel"):
        read_image(path)


def test_up_to_8_bits_an_image_has_its_full_contrast(path: Path) -> None:
    for bits, levels in ((1, [0, 255] * 4), (2, [0, 85, 170, 255] * 2), (4, list(range(0, 136, 17)))):
        path.write_bytes(png(RAMP % 8 % 2**bits, bits))
        assert read_image(path)[0].tolist() == [[level] * 3 for level in levels]
    path.write_bytes(png(RAMP % 4, 2, INDEXED))
    assert read_image(path)[0].tolist() == [[0, 0, index] for index in [0, 1, 2, 3] * 2]
    path.write_bytes(tiff(np.full((6, 8, 3), 200, np.uint8)))
    assert (read_image(path) == 200).all()


def test_a_tiff_of_numbers_that_pillow_does_not_know(path: Path) -> None:
    path.write_bytes(tiff(np.zeros((6, 8), np.float64)))
    with pytest.raises(UserError, match=r"a\.png': not an image \(.*, of at most 32 bits per value\), or"):
        read_values(path)


def test_a_tiff_that_says_where_its_pixels_are_in_floats(path: Path) -> None:
    content = bytearray(tiff(np.zeros((6, 8), np.uint8)))
    place = 8 + 2 + 12 * 5  # of the entry StripOffsets: tag, type, count, value
    assert content[place : place + 4] == struct.pack("<HH", 273, 4)
    content[place + 2] = 11  # FLOAT
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read '.*a\.png': .*; replace or remove it"):
        read_image(path)


def test_a_bmp_that_pillow_misreads(path: Path) -> None:
    """Pillow takes 8 bits in black and white for 1 bit: other pixels, and no word."""
    path.write_bytes(bmp_of_8_bits(RAMP % 2, [(0, 0, 0), (255, 255, 255)]))
    for read in (read_image, read_values):
        with pytest.raises(UserError, match=r"a\.png' is an 8-bit BMP in black and white, .* save it as PNG"):
            read(path)
    path.write_bytes(bmp_of_8_bits(RAMP % 2, [(0, 0, 0), (0, 255, 255)]))
    assert read_values(path)[0].tolist() == [0, 1] * 4
    Image.fromarray(RAMP % 2 > 0).save(path, "BMP")
    assert read_values(path)[0].tolist() == [0, 1] * 4


@pytest.mark.parametrize("read", [read_image, read_values, image_size])
def test_a_stack_is_not_its_first_picture(path: Path, read) -> None:
    first, second = (Image.fromarray(np.full((6, 8), value, np.uint8)) for value in (1, 2))
    first.save(path, "TIFF", save_all=True, append_images=[second, second])
    with pytest.raises(UserError, match=r"a\.png' is a stack of pictures, .*; save each in a separate file"):
        read(path)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # as Pillow calls it
def test_a_damaged_second_page_does_not_matter(path: Path) -> None:
    """The table of the first page ends in the place of the second: here behind the file's end, or on rubbish."""
    content = tiff(np.ones((6, 8), np.uint8))
    after_table = 8 + 2 + 12 * 10
    for place in (10**6, 20):
        path.write_bytes(content[:after_table] + place.to_bytes(4, "little") + content[after_table + 4 :])
        assert (read_values(path) == 1).all()


@pytest.mark.parametrize(("kind", "size"), [(1, (8, 6)), (4, (8, 6)), (0, (4, 3))])
def test_overviews_and_masks_go_with_their_picture(path: Path, kind: int, size: tuple[int, int]) -> None:
    """As in cloud-optimized GeoTIFFs, by TIFF's NewSubfileType: 1 = of reduced resolution, 4 = transparency mask."""
    second = Image.new("L", size, 2)
    second.encoderinfo = {"tiffinfo": {254: kind}}
    Image.new("L", (8, 6), 1).save(path, "TIFF", save_all=True, append_images=[second])
    assert (read_values(path) == 1).all()
    assert (read_image(path) == 1).all()


@pytest.mark.parametrize("kind", ["EPS", "GIF", "PPM"])
def test_a_file_of_another_format_is_not_opened(path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """To decode an EPS, Pillow starts Ghostscript."""
    started = []
    monkeypatch.setattr(subprocess, "check_call", lambda *command, **options: started.append(command))
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", "gs")
    Image.new("RGB", (8, 6)).save(path, kind)
    for read in (read_image, read_values, image_size):
        with pytest.raises(UserError, match=r"a\.png': not an image \(PNG, JPEG, WebP, BMP or TIFF,"):
            read(path)
    assert not started


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_the_name_of_a_file_does_not_matter(path: Path, kind: str) -> None:
    Image.new("RGB", (8, 6), (10, 10, 10)).save(path, kind)
    assert image_size(path) == (6, 8)
    assert (read_image(path) == 10).all()


@pytest.mark.parametrize("read", [read_image, read_values, image_size])
@pytest.mark.parametrize("side", [9600, 13000])  # what Pillow warns of, and what it takes for an attack
def test_a_picture_too_large_to_decode(path: Path, monkeypatch: pytest.MonkeyPatch, read, side: int) -> None:
    path.write_bytes(png(np.zeros((1, 8)), size=(side, side)))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda picture: pytest.fail("decoded"))
    message = rf"a\.png' has {side}x{side} pixels; at most 89 million are supported: cut it into tiles"
    with pytest.raises(UserError, match=message):
        read(path)


def test_the_limit_is_pillows_and_stays_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (40, 30)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1199)
    with pytest.raises(UserError, match="has 40x30 pixels"):
        read_image(path)
    assert Image.MAX_IMAGE_PIXELS == 1199
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1200)
    assert read_image(path).shape == (30, 40, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert read_image(path).shape == (30, 40, 3)


PIXELS = RAMP[:4].astype(np.uint8)
TURNED = {1: PIXELS, 2: PIXELS[:, ::-1], 3: PIXELS[::-1, ::-1], 6: PIXELS[::-1].T, 8: PIXELS.T[::-1]}
"""The pixels as each EXIF orientation shows them, by the definition of the standard."""


def turned(path: Path, kind: str, orientation: int, picture: Image.Image) -> Path:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture.save(path, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    return path


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNED)
def test_images_are_turned_upright(path: Path, kind: str, orientation: int) -> None:
    turned(path, kind, orientation, Image.fromarray(PIXELS).convert("RGB"))
    shown = TURNED[orientation]
    assert read_image(path)[..., 0].tolist() == shown.tolist()
    assert image_size(path) == shown.shape
    assert read_upright(path)[1] == upright_size(path)[1] == (orientation != 1)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
@pytest.mark.parametrize("orientation", [2, 3, 6])
def test_a_mask_with_an_orientation_is_refused(path: Path, kind: str, mode: str, orientation: int) -> None:
    """It may be left over from the image, or be meant."""
    picture = Image.fromarray(np.zeros((4, 6), np.uint8)).convert(mode)
    for colors in (None, ((0, 0, 0), (1, 1, 1))):
        turned(path, kind, orientation, picture)
        with pytest.raises(UserError, match=rf"mask '.*' has EXIF orientation {orientation}, .*; save it upright and"):
            read_mask(path, 2, colors=colors)
        turned(path, kind, 1, picture)
        assert read_mask(path, 2, colors=colors).tolist() == np.zeros((4, 6)).tolist()
