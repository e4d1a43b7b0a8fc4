"""Decode one image or one mask file; whatever is wrong with it is a UserError that names the file."""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from segdistill.data.classes import VOID, Colour
from segdistill.errors import UserError

Array = NDArray[np.uint8]

_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
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


def read_image(path: Path) -> Array:
    """Return an image as RGB, shape (H, W, 3), turned upright as its EXIF orientation says; alpha is dropped.

    Raises:
        UserError: If the file is damaged or has more than 8 bits per channel.
    """
    with _opened(path) as picture:
        if picture.mode.startswith(("I", "F")):
            raise UserError(f"image '{path}' has more than 8 bits per channel ({picture.mode}); convert it to 8 bits")
        upright = ImageOps.exif_transpose(picture)
        if upright.mode == "P":  # a palette with transparency converts without a warning only by way of RGBA
            upright = upright.convert("RGBA")
        return np.array(upright.convert("RGB"))


def image_size(path: Path) -> tuple[int, int]:
    """Return the (height, width) that :func:`read_image` would give, from the file's header alone.

    Raises:
        UserError: If the file is not an image.
    """
    with _opened(path) as picture:
        turned = picture.getexif().get(ExifTags.Base.Orientation) in _TURNED
        return picture.size if turned else (picture.height, picture.width)


def read_values(path: Path) -> NDArray[np.integer]:
    """Return a mask's values as they are in the file, shape (H, W); palette masks give indices.

    Raises:
        UserError: If the file is damaged or holds colours.
    """
    with _opened(path) as picture:
        if picture.mode not in ("1", "L", "P") and not picture.mode.startswith("I"):
            raise UserError(
                f"mask '{path}' holds colours ({picture.mode}), expected one class index per pixel; "
                'give "palette" in classes.json, or convert the masks'
            )
        values = np.array(picture)
        return values.astype(np.uint8) if values.dtype == bool else values


def read_mask(path: Path, num_classes: int, *, void: int = VOID, colours: tuple[Colour, ...] | None = None) -> Array:
    """Return the class index of each pixel, shape (H, W), 255 = void.

    Args:
        path: The mask: class indices with 1, 8, 16 or 32 bits or a palette, or colours where ``colours`` is
            given.
        num_classes: Values must be below, or void.
        void: A further value that means void.
        colours: One colour per class, and one more for void; for RGB masks.

    Raises:
        UserError: If the file is damaged or holds a value or colour that is no class: says which, in how
            many pixels.
    """
    if colours:
        with _opened(path) as picture:
            if picture.mode in ("RGB", "RGBA"):
                return _classes_of_colours(np.array(picture.convert("RGB")), path, num_classes, colours)
    values = read_values(path)
    wrong = ((values >= num_classes) | (values < 0)) & (values != VOID) & (values != void)
    if wrong.any():
        raise UserError(
            f"mask '{path}' has {_shown(np.unique(values[wrong]).tolist())} in {wrong.sum()} pixels; "
            f"expected 0..{num_classes - 1}, or {VOID}{f' or {void}' if void != VOID else ''} for void"
        )
    labels = values.astype(np.uint8)
    if void != VOID:
        labels[values == void] = VOID
    return labels


def _classes_of_colours(pixels: Array, path: Path, num_classes: int, colours: tuple[Colour, ...]) -> Array:
    codes = _codes(pixels)  # (H, W)
    known = _codes(np.array(colours, dtype=np.uint8))
    order = known.argsort()
    place = order[np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)]
    wrong = known[place] != codes
    if wrong.any():
        shown = [list(colour) for colour in np.unique(pixels[wrong], axis=0).tolist()]
        raise UserError(
            f"mask '{path}' has {_shown(shown, 'colour')} in {wrong.sum()} pixels, not in \"palette\" of "
            "classes.json; add it, or as one colour more than there are classes if it means void"
        )
    return np.where(place < num_classes, place, VOID).astype(np.uint8)


def _codes(pixels: Array) -> NDArray[np.int32]:
    red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
    codes: NDArray[np.int32] = red << 16 | green << 8 | blue
    return codes


def _shown(found: Sequence[object], word: str = "label") -> str:
    shown = ", ".join(str(value) for value in found[:4]) + (", ..." if len(found) > 4 else "")
    return f"{word}{'s' if len(found) > 1 else ''} {shown}"


def reading_threads() -> int:
    """Return how many files to read at once."""
    return min(8, os.cpu_count() or 1)
