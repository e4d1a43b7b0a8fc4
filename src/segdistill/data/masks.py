"""Decode one mask file into class indices; whatever is wrong with it is a UserError that names the file."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdistill.data.classes import VOID, Colour
from segdistill.data.reading import Array, Source, opened
from segdistill.errors import UserError


def read_values(path: Source) -> NDArray[np.integer]:
    """Return a mask's values as they are in the file, shape (H, W); palette masks give indices.

    Raises:
        UserError: If the file is damaged or holds colours.
    """
    with opened(path) as picture:
        return _values(picture, path)


def read_mask(
    path: Source,
    num_classes: int,
    *,
    void: int = VOID,
    values: tuple[int, ...] | None = None,
    colours: tuple[Colour, ...] | None = None,
) -> Array:
    """Return the class index of each pixel, shape (H, W), 255 = void.

    Where ``colours`` is given, RGB masks are read by them; so are palette masks whose palette has no other colours
    than these, because a picture program numbers the entries of a palette as it likes.

    Args:
        path: The mask: values with 1, 8, 16 or 32 bits or a palette, or colours where ``colours`` is given.
        num_classes: Class indices must be below, or void.
        void: A further value that means void.
        values: The class of each value in the file, 255 = void; None where the values are the class indices.
        colours: One colour per class, and one more for void.

    Raises:
        UserError: If the file is damaged or holds a value or colour that is no class: says which, in how
            many pixels.
    """
    with opened(path) as picture:
        if colours and picture.mode in ("RGB", "RGBA"):
            return _classes_of_colours(np.array(picture.convert("RGB")), path, num_classes, colours)
        found = _values(picture, path)
        if colours and picture.mode == "P":
            entries = np.array(picture.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
            used = np.unique(found)
            if used[-1] < len(entries) and _places(entries[used], colours)[1].all():
                return _classes_of_colours(entries[found], path, num_classes, colours)
    limit = num_classes if values is None else len(values)
    wrong = ((found >= limit) | (found < 0)) & (found != VOID) & (found != void)
    if wrong.any():
        raise UserError(
            f"mask '{path}' has {_shown(np.unique(found[wrong]).tolist())} in {wrong.sum()} pixels; "
            f"expected 0..{limit - 1}, or {VOID}{f' or {void}' if void != VOID else ''} for void"
        )
    labels = found.astype(np.uint8)
    if values is not None:
        labels = np.array(values + (VOID,) * (VOID + 1 - limit), dtype=np.uint8)[labels]
    if void != VOID:
        labels[found == void] = VOID
    return labels


def check_size(labels: Array, size: tuple[int, ...], mask: Source, image: Source) -> None:
    """Check that labels have the (height, width) of their image.

    Raises:
        UserError: If they do not.
    """
    if labels.shape != size:
        mask_size, own_size = (f"{width}x{height}" for height, width in (labels.shape, size))
        raise UserError(
            f"mask '{mask}' is {mask_size} but its image '{image}' is {own_size} "
            "(width x height, upright); a mask needs its image's size"
        )


def _values(picture: Image.Image, path: Source) -> NDArray[np.integer]:
    if picture.mode not in ("1", "L", "P") and not picture.mode.startswith("I"):
        raise UserError(
            f"mask '{path}' holds colours ({picture.mode}), expected one class index per pixel; "
            "convert the masks or, in a 'folder', give \"palette\" in classes.json"
        )
    values = np.array(picture)
    return values.astype(np.uint8) if values.dtype == bool else values


def _classes_of_colours(pixels: Array, path: Source, num_classes: int, colours: tuple[Colour, ...]) -> Array:
    places, known = _places(pixels, colours)
    if not known.all():
        shown = [list(colour) for colour in np.unique(pixels[~known], axis=0).tolist()]
        raise UserError(
            f"mask '{path}' has {_shown(shown, 'colour')} in {(~known).sum()} pixels, not among the colours of the "
            "classes; correct the mask or, in a 'folder', add the colour to \"palette\" in classes.json (one colour "
            "more than there are classes means void)"
        )
    return np.where(places < num_classes, places, VOID).astype(np.uint8)


def _places(pixels: Array, colours: tuple[Colour, ...]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the place among ``colours`` of each pixel's (..., 3) colour, and whether it is one of them."""
    codes, known = _codes(pixels), _codes(np.array(colours, dtype=np.uint8))
    order = known.argsort()
    places = order[np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)]
    return places, known[places] == codes


def _codes(pixels: Array) -> NDArray[np.int32]:
    red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
    codes: NDArray[np.int32] = red << 16 | green << 8 | blue
    return codes


def _shown(found: Sequence[object], word: str = "label") -> str:
    shown = ", ".join(str(value) for value in found[:4]) + (", ..." if len(found) > 4 else "")
    return f"{word}{'s' if len(found) > 1 else ''} {shown}"
