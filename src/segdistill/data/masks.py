"""Decode one mask file into class indices; whatever is wrong with it is a UserError that names the file."""

import logging
from collections.abc import Sequence
from functools import cache as remember
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdistill.data.classes import VOID, Colour
from segdistill.data.reading import Array, Source, has_16_bits, opened, stored_mode
from segdistill.errors import UserError

_log = logging.getLogger(__name__)


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
    has_own_palette: bool = False,
) -> Array:
    """Return the class index of each pixel, shape (H, W), 255 = void.

    Where ``colours`` is given, RGB masks are read by them. Indexed masks are read by their indices, whatever colors
    their palette shows.

    Args:
        path: The mask: values with 1 to 32 bits, whole floats or a palette, or colours where ``colours`` is given.
        num_classes: Class indices must be below, or void.
        void: A further value that means void.
        values: The class of each value in the file, 255 = void; None where the values are the class indices.
        colours: One colour per class, and one more for void.
        has_own_palette: These colours are the data set's own: an indexed mask that has them at other indices was
            converted, and is refused.

    Raises:
        UserError: If the file is damaged or holds a value or colour that is no class: says which, in how
            many pixels.
    """
    with opened(path) as picture:
        if colours and picture.mode in ("RGB", "RGBA"):
            _check_bits(picture, path)
            return _classes_of_colours(np.array(picture.convert("RGB")), path, num_classes, colours)
        found = _values(picture, path)
        if colours and has_own_palette and picture.mode == "P":
            _check_palette(picture, found, path, num_classes, colours)
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
    _check_bits(picture, path)
    step = _STEPS.get(stored_mode(picture)[:3], 1)
    values = np.array(picture)
    if picture.mode in ("1", "L", "P") or picture.mode.startswith("I"):
        return values.astype(np.uint8) if values.dtype == bool else values // step
    if picture.mode == "F":
        return _whole(values, path)
    if picture.mode in ("LA", "RGB", "RGBA"):
        channels = values.reshape(*values.shape[:2], -1)
        has_alpha = picture.mode.endswith("A")
        gray = channels[..., :-1] if has_alpha else channels
        if (gray == gray[..., :1]).all() and (not has_alpha or (channels[..., -1] == 255).all()):
            _say_read_as_gray(picture.mode, str(path.parent) if isinstance(path, Path) else "")
            return np.ascontiguousarray(gray[..., 0])
    raise UserError(
        f"mask '{path}' holds colours ({picture.mode}), expected one class index per pixel; "
        "convert the masks or, in a 'folder', give \"palette\" in classes.json"
    )


# Pillow spreads gray values of 2 and 4 bits over 0..255; a class index is what is stored.
_STEPS = {"L;2": 85, "L;4": 17}


def _check_bits(picture: Image.Image, path: Source) -> None:
    if has_16_bits(picture):
        raise UserError(
            f"mask '{path}' has 16 bits in each of several channels ({stored_mode(picture)}); expected one class index "
            "per pixel, or colors of 8 bits: convert it"
        )


def _whole(values: NDArray[np.floating], path: Source) -> NDArray[np.integer]:
    """Return floats that are whole numbers as integers."""
    found = values.astype(np.int64, casting="unsafe") if np.isfinite(values).all() else None
    if found is None or (found != values).any():
        raise UserError(
            f"mask '{path}' holds float values that are no whole numbers; expected class indices: save it as integers"
        )
    return found


@remember
def _say_read_as_gray(mode: str, folder: str) -> None:
    """Log how masks of a folder are read, the first time."""
    what = {"RGB": "three equal channels", "RGBA": "three equal channels and an opaque alpha channel"}
    where = f" in '{folder}'" if folder else ""
    _log.info(f"masks{where} have {what.get(mode, 'an opaque alpha channel')}: their gray values are the class indices")


def _check_palette(
    picture: Image.Image, found: NDArray[np.integer], path: Source, num_classes: int, colours: tuple[Colour, ...]
) -> None:
    """Refuse an indexed mask whose palette shows the classes' own colors at other indices than theirs."""
    entries = np.array(picture.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    used = np.unique(found)
    if used[-1] >= len(entries):
        return
    places, known = _places(entries[used], colours)
    meant = np.where(places < num_classes, places, VOID)
    if known.all() and (meant != used).any():
        wrong = int(used[meant != used][0])
        color, label = entries[wrong].tolist(), meant[used == wrong][0]
        raise UserError(
            f"mask '{path}' has index {wrong} for {color}, the color of class {label}; a picture program has numbered "
            "its palette anew: save it in RGB, or with the data set's palette"
        )


def _classes_of_colours(pixels: Array, path: Source, num_classes: int, colours: tuple[Colour, ...]) -> Array:
    places, known = _places(pixels, colours)
    if not known.all():
        shown = [list(colour) for colour in np.unique(pixels[~known], axis=0).tolist()]
        raise UserError(
            f"mask '{path}' has {_shown(shown, 'colour')} in {(~known).sum()} pixels, not among the colours of the "
            f"classes; correct the mask or, in a 'folder', classes.json: if {shown[0]} is void, add it to the end of "
            f'"palette"; if it is a class, add its name to "classes" and the color at the same place of "palette"'
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
