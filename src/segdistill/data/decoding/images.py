"""Decoding of image files. Every problem is a UserError that names the file."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

from segdistill.data.decoding.depth import bits_per_channel, is_misread, is_stack
from segdistill.data.decoding.fast_png import decoded_png
from segdistill.data.decoding.sources import Array, InMemory, Source
from segdistill.errors import UserError
from segdistill.system.threads import allowed_cores

__all__ = [
    "FORMATS",
    "UPRIGHT",
    "Array",
    "InMemory",
    "Source",
    "image_size",
    "opened",
    "orientation",
    "read_image",
    "read_upright",
    "reading_threads",
    "upright_size",
]

UPRIGHT = 1
"""The EXIF orientation of a picture that is stored as it is shown."""

_EXCHANGES_SIDES = (5, 6, 7, 8)  # EXIF orientations
_limit_lifted = Lock()

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""Accepted file formats, independent of the suffix. Some other formats of Pillow run programs (EPS: Ghostscript)."""


@contextmanager
def opened(path: Source) -> Iterator[ImageFile]:
    """Open a picture. Errors raised while it is decoded inside the block become UserErrors with its name.

    Raises:
        UserError: If the file is damaged, not one of :data:`FORMATS`, or larger than
            ``PIL.Image.MAX_IMAGE_PIXELS`` (where Pillow only warns).
    """
    try:
        with _header(path) as picture:
            if is_misread(picture):
                raise UserError(f"'{path}' is an 8-bit BMP in black and white, which is not supported; save it as PNG")
            if is_stack(picture):
                raise UserError(
                    f"'{path}' is a stack of pictures, but only the first would be read; save each in a separate file"
                )
            yield picture
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(
            f"cannot read '{path}': not an image (PNG, JPEG, WebP, BMP or TIFF, of at most 32 bits per value), or a "
            "damaged one; convert, replace or remove it"
        ) from error
    # Errors of Pillow's decoders on damaged files; OSError includes truncation.
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, struct.error) as error:
        raise UserError(f"cannot read '{path}': {error}; replace or remove it") from error


def _header(path: Source) -> ImageFile:
    """Open a picture without decoding it, and check its size."""
    with _limit_lifted:  # suppresses Pillow's warning; the error below is more helpful
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            picture = Image.open(path, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if limit is not None and picture.width * picture.height > limit:
        picture.close()
        raise UserError(
            f"'{path}' has {picture.width}x{picture.height} pixels; at most {limit / 1e6:.0f} million are supported: "
            "cut it into tiles or scale it down"
        )
    return picture


def read_image(path: Source) -> Array:
    """Return an image as RGB, shape (H, W, 3), turned upright by its EXIF orientation; alpha is dropped.

    Raises:
        UserError: If the file is damaged or has more than 8 bits per channel.
    """
    return read_upright(path)[0]


def read_upright(path: Source) -> tuple[Array, bool]:
    """Return what :func:`read_image` returns, and whether the image was turned or mirrored."""
    if (pixels := decoded_png(path)) is not None:
        return pixels, False
    with opened(path) as picture:
        _check_depth(picture, path)
        turned = orientation(picture) != UPRIGHT
        upright = ImageOps.exif_transpose(picture)
        if upright.mode == "P":  # converting a palette with transparency directly to RGB gives a warning
            upright = upright.convert("RGBA")
        return np.array(upright.convert("RGB")), turned


def image_size(path: Source) -> tuple[int, int]:
    """Return the (height, width) of :func:`read_image`'s result, reading only the file's header.

    Raises:
        UserError: If the file is not an image, or has more than 8 bits per channel.
    """
    return upright_size(path)[0]


def upright_size(path: Source) -> tuple[tuple[int, int], bool]:
    """Return what :func:`image_size` returns, and whether the image is turned or mirrored on reading."""
    with opened(path) as picture:
        _check_depth(picture, path)
        width, height = picture.size
        if isinstance(picture, TiffImageFile):  # Pillow may have exchanged the sides already
            width, height = picture.tag_v2[IMAGEWIDTH], picture.tag_v2[IMAGELENGTH]
        found = orientation(picture)
        return ((width, height) if found in _EXCHANGES_SIDES else (height, width)), found != UPRIGHT


def orientation(picture: ImageFile) -> int:
    """Return the EXIF orientation, 1 to 8. Call it before a TIFF is decoded, which turns it upright."""
    found = picture.getexif().get(ExifTags.Base.Orientation)
    return found if isinstance(found, int) and 1 <= found <= 8 else UPRIGHT


def _check_depth(picture: ImageFile, path: Source) -> None:
    bits = bits_per_channel(picture)
    if bits > 8:
        raise UserError(
            f"image '{path}' has more than 8 bits per channel ({picture.mode}, {bits}); convert it to 8 bits"
        )


def reading_threads() -> int:
    """Return the number of threads for reading files."""
    return min(8, allowed_cores())
