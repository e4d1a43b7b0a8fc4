"""Decode one image file; whatever is wrong with it is a UserError that names the file."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from segdistill.data.decoding.depth import bits_per_channel, is_misread, is_stack
from segdistill.errors import UserError
from segdistill.system.threads import allowed_cores

Array = NDArray[np.uint8]

_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_limit_lifted = Lock()

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""What pictures are opened as, whatever they are called; some of Pillow's others start programs (EPS: Ghostscript)."""


class InMemory(BytesIO):
    """An encoded picture that is no file of its own; messages call it ``name``."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self._name = name

    def __str__(self) -> str:
        return self._name


Source = Path | InMemory
"""Where a picture is read from."""


@contextmanager
def opened(path: Source) -> Iterator[ImageFile]:
    """Open a picture; errors while it is decoded inside the block are reported with its name.

    Raises:
        UserError: If the file is damaged, of none of :data:`FORMATS`, or has more pixels than
            ``PIL.Image.MAX_IMAGE_PIXELS``, which Pillow itself only warns of.
    """
    try:
        with _header(path) as picture:
            if is_misread(picture):
                raise UserError(f"'{path}' is a BMP of 8 bits in black and white, which is not read; save it as PNG")
            if is_stack(picture):
                raise UserError(
                    f"'{path}' is a stack of pictures, of which only the first would be read; save each in its own file"
                )
            yield picture
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(
            f"cannot read '{path}': not an image (PNG, JPEG, WebP, BMP or TIFF, of at most 32 bits per value), or a "
            "damaged one; convert, replace or remove it"
        ) from error
    # What Pillow's decoders raise on damaged files; OSError includes truncation.
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, struct.error) as error:
        raise UserError(f"cannot read '{path}': {error}; replace or remove it") from error


def _header(path: Source) -> ImageFile:
    """Open a picture without decoding it, if it is not too large to be decoded."""
    with _limit_lifted:  # or a warning of Pillow's would come before the error, which says more
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            picture = Image.open(path, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if limit is not None and picture.width * picture.height > limit:
        picture.close()
        raise UserError(
            f"'{path}' has {picture.width}x{picture.height} pixels, more than the {limit / 1e6:.0f} million that are "
            "read at once; cut it into tiles or scale it down"
        )
    return picture


def read_image(path: Source) -> Array:
    """Return an image as RGB, shape (H, W, 3), turned upright as its EXIF orientation says; alpha is dropped.

    Raises:
        UserError: If the file is damaged or has more than 8 bits per channel.
    """
    with opened(path) as picture:
        _check_depth(picture, path)
        upright = ImageOps.exif_transpose(picture)
        if upright.mode == "P":  # a palette with transparency converts without a warning only by way of RGBA
            upright = upright.convert("RGBA")
        return np.array(upright.convert("RGB"))


def image_size(path: Source) -> tuple[int, int]:
    """Return the (height, width) that :func:`read_image` would give, from the file's header alone.

    Raises:
        UserError: If the file is not an image, or has more than 8 bits per channel.
    """
    with opened(path) as picture:
        _check_depth(picture, path)
        turned = picture.getexif().get(ExifTags.Base.Orientation) in _TURNED
        return picture.size if turned else (picture.height, picture.width)


def _check_depth(picture: ImageFile, path: Source) -> None:
    bits = bits_per_channel(picture)
    if bits > 8:
        raise UserError(
            f"image '{path}' has more than 8 bits per channel ({picture.mode}, {bits}); convert it to 8 bits"
        )


def reading_threads() -> int:
    """Return how many files to read at once."""
    return min(8, allowed_cores())
