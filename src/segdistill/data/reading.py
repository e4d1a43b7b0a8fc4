"""Decode one image file; whatever is wrong with it is a UserError that names the file."""

import os
import struct
import warnings
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

# By content, whatever a file is called. Pillow knows more, and some of those start other programs (EPS: Ghostscript).
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")

MAX_PIXELS = 89_478_485
"""A picture with more is refused before it is decoded: that takes minutes and gigabytes. It is Pillow's own number."""

# Beyond that number Pillow warns, where the caller of this module gets an error.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


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
        with Image.open(path, formats=_FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise _too_large(path, f"has {picture.width}x{picture.height} pixels")
            yield picture
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(
            f"cannot read '{path}': not an image (PNG, JPEG, WebP, BMP or TIFF), or a damaged one; replace or remove it"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path, "has more") from error
    # What Pillow's decoders raise on damaged files; OSError includes truncation.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise UserError(f"cannot read '{path}': {error}; replace or remove it") from error


def read_image(path: Source) -> Array:
    """Return an image as RGB, shape (H, W, 3), turned upright as its EXIF orientation says; alpha is dropped.

    Raises:
        UserError: If the file is damaged or has more than 8 bits per channel.
    """
    with opened(path) as picture:
        if picture.mode.startswith(("I", "F")) or has_16_bits(picture):
            raise UserError(
                f"image '{path}' has more than 8 bits per channel ({stored_mode(picture)}); convert it to 8 bits"
            )
        upright = ImageOps.exif_transpose(picture)
        if upright.mode == "P":  # a palette with transparency converts without a warning only by way of RGBA
            upright = upright.convert("RGBA")
        return np.array(upright.convert("RGB"))


def stored_mode(picture: Image.Image) -> str:
    """Return how the pixels lie in the file, as in ``L;4`` or ``RGB;16B``; ``mode`` tells what Pillow makes of them.

    Only before the picture is decoded.
    """
    tiles = getattr(picture, "tile", None)  # of a picture that is still in its file
    arguments = tiles[0][3] if tiles else None
    stored = arguments if isinstance(arguments, str) else arguments[0] if isinstance(arguments, tuple) else None
    return stored if isinstance(stored, str) else picture.mode


def has_16_bits(picture: Image.Image) -> bool:
    """Tell whether several channels have 16 bits each in the file: Pillow would drop the lower 8 without a word."""
    return ";16" in stored_mode(picture) and not picture.mode.startswith("I")


def _too_large(path: Source, size: str) -> UserError:
    return UserError(
        f"'{path}' {size}, and at most {MAX_PIXELS / 1e6:.0f} million are read at a time; cut it into tiles, or scale "
        "it down"
    )


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
