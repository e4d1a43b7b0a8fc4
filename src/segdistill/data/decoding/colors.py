"""Colors in masks: which class each means, and which to add where one means none."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile

from segdistill.data.classes import VOID, Color
from segdistill.data.decoding.images import Array, Source
from segdistill.errors import UserError


def classes_of_colors(pixels: Array, path: Source, num_classes: int, colors: tuple[Color, ...]) -> Array:
    """Return the class of each pixel (H, W, 3) by its color, 255 = void.

    Args:
        pixels: A mask in colors.
        path: Where it is from, for messages.
        num_classes: How many of the colors mean classes.
        colors: One color per class, and one more for void.

    Raises:
        UserError: If a pixel has none of these colors: says which, and what to add where.
    """
    places, known = _places(pixels, colors)
    if not known.all():
        rest = [list(color) for color in np.unique(pixels[~known], axis=0).tolist()]
        raise UserError(
            f"mask '{path}' has {shown(rest, 'color')} in {(~known).sum()} pixels, not among the colors of the "
            f"classes; correct the mask or, in a 'folder', classes.json: {_remedy(rest, num_classes, colors)}"
        )
    return np.where(places < num_classes, places, VOID).astype(np.uint8)


def moved_color(
    picture: ImageFile, found: NDArray[np.integer], colors: tuple[Color, ...], void: tuple[int, int]
) -> tuple[int, Color, int] | None:
    """Return an index in use whose palette entry is another class's color: the index, the color and its place.

    None where there is none, and where the palette shows any other color: then its colors are not the classes'.
    """
    entries = np.array(picture.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    used = np.unique(found)
    used = used[~np.isin(used, void)]
    if not used.size or used[-1] >= len(entries):
        return None
    places, known = _places(entries[used], colors)
    moved = np.flatnonzero(places != used)
    if not known.all() or not moved.size:
        return None
    index, place = int(used[moved[0]]), int(places[moved[0]])
    return index, colors[place], place


def _remedy(rest: Sequence[list[int]], num_classes: int, colors: tuple[Color, ...]) -> str:
    """Say what to do with colors that the palette lacks."""
    if all(red == green == blue < num_classes for red, green, blue in rest):
        return "they look like class indices in three equal channels: save one of them"
    if len(colors) > num_classes:
        return (
            'if they are classes, add their names to the end of "classes" and their colors to "palette" before its '
            f"last, which is void's; pixels that are void need that one, {list(colors[-1])}"
        )
    if len(rest) > 1:
        return (
            'if they are classes, add their names to the end of "classes" and their colors to the end of "palette" '
            "(one color more than there are classes means void); if they are blends, save masks without smoothing"
        )
    return (
        f'if {rest[0]} is void, add it to the end of "palette"; if it is a class, add its name to "classes" and the '
        'color at the same place of "palette"'
    )


def _places(pixels: Array, colors: tuple[Color, ...]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the place among ``colors`` of each pixel's (..., 3) color, and whether it is one of them."""
    codes, known = _codes(pixels), _codes(np.array(colors, dtype=np.uint8))
    order = known.argsort()
    places = order[np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)]
    return places, known[places] == codes


def _codes(pixels: Array) -> NDArray[np.int32]:
    red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
    codes: NDArray[np.int32] = red << 16 | green << 8 | blue
    return codes


def shown(found: Sequence[object], word: str = "label") -> str:
    """Write the first of what was found, for instance ``labels 7, 9``."""
    first = ", ".join(str(value) for value in found[:4]) + (", ..." if len(found) > 4 else "")
    return f"{word}{'s' if len(found) > 1 else ''} {first}"
