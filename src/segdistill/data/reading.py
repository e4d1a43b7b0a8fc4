"""Decode one image file; whatever is wrong with it is a UserError that names the file."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from segdistill.errors import UserError

Array = NDArray[np.uint8]

_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


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
def opened(path: Source) -> Iterator[Image.Image]:
    """Open a picture; errors while it is decoded inside the block are reported with its name."""
    try:
        with Image.open(path) as picture:
            yield picture
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"cannot read '{path}': not an image, or a damaged one; replace or remove it") from error
    # What Pillow's decoders raise on damaged files; OSError includes truncation.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise UserError(f"cannot read '{path}': {error}; replace or remove it") from error


def read_image(path: Source) -> Array:
    """Return an image as RGB, shape (H, W, 3), turned upright as its EXIF orientation says; alpha is dropped.

    Raises:
        UserError: If the file is damaged or has more than 8 bits per channel.
    """
    with opened(path) as picture:
        if picture.mode.startswith(("I", "F")):
            raise UserError(f"image '{path}' has more than 8 bits per channel ({picture.mode}); convert it to 8 bits")
        upright = ImageOps.exif_transpose(picture)
        if upright.mode == "P":  # a palette with transparency converts without a warning only by way of RGBA
            upright = upright.convert("RGBA")
        return np.array(upright.convert("RGB"))


def image_size(path: Source) -> tuple[int, int]:
    """Return the (height, width) that :func:`read_image` would give, from the file's header alone.

    Raises:
        UserError: If the file is not an image.
    """
    with opened(path) as picture:
        turned = picture.getexif().get(ExifTags.Base.Orientation) in _TURNED
        return picture.size if turned else (picture.height, picture.width)


def reading_threads() -> int:
    """Return how many files to read at once."""
    return min(8, os.cpu_count() or 1)
