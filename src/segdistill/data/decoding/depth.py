"""Storage details that Pillow's modes hide: bit depth, sign, inversion and further pages."""

import re
import struct

from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT, TiffImageFile

_NEW_SUBFILE_TYPE = 254  # a tag of TIFF 6.0
_REDUCED_OR_MASK = 0b101  # pages that belong to the first picture, for example in cloud-optimized GeoTIFFs


def bits_per_channel(picture: ImageFile) -> int:
    """Return the bits per channel in the file. Call it before the picture is decoded."""
    if isinstance(picture, TiffImageFile):
        return int(max(picture.tag_v2.get(BITSPERSAMPLE, (1,))))
    if picture.format != "PNG" or not picture.tile:  # no tile: the file ends before any pixel
        return 8
    layout = str(picture.tile[0][3])  # for example "1", "L", "L;4" or "RGB;16B"
    named = re.search(r";(\d+)", layout)
    return int(named[1]) if named else 1 if layout == "1" else 8


def is_signed_byte(picture: ImageFile) -> bool:
    """Return whether the file holds -128..127, which Pillow reads as 0..255."""
    return isinstance(picture, TiffImageFile) and picture.mode == "L" and 2 in picture.tag_v2.get(SAMPLEFORMAT, ())


def is_inverted(picture: ImageFile) -> bool:
    """Return whether 0 is white in the file, in which case Pillow inverts its gray values."""
    if not isinstance(picture, TiffImageFile) or picture.mode != "L":
        return False
    return bool(picture.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0)


def is_misread(picture: ImageFile) -> bool:
    """Return whether Pillow reads bytes as bits: an 8-bit BMP with a black and white palette."""
    if picture.format != "BMP" or picture.mode != "1":
        return False
    stride = picture.tile[0][3][1]  # type: ignore[index]  # a BMP's tile has its layout, stride and direction
    return bool(stride != (picture.width + 31) // 32 * 4)


def is_stack(picture: ImageFile) -> bool:
    """Return whether the file holds further pictures of the same size, which would not be read."""
    if not isinstance(picture, TiffImageFile):
        return False
    size = picture.size
    try:
        picture.seek(1)
        return bool(picture.size == size and not picture.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK)
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, struct.error):
        return False  # no second page, or one that cannot be read
    finally:
        picture.seek(0)
