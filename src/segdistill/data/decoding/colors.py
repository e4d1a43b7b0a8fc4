"""Masks in colors: conversion to classes, and suggestions for unknown colors."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segdistill.data.classes import VOID, Color
from segdistill.data.decoding.images import Array, Source
from segdistill.errors import UserError, few


def classes_of_colors(pixels: Array, path: Source, num_classes: int, colors: tuple[Color, ...]) -> Array:
    """Return the class of each pixel by its color; 255 = void.

    Args:
        pixels: A mask in colors, (H, W, 3).
        path: The mask's file, for messages.
        num_classes: Number of classes.
        colors: One color per class; optionally one more, for void.

    Raises:
        UserError: If a pixel has none of these colors. The message names the colors and a fix.
    """
    positions, known = _positions(pixels, colors)
    if not known.all():
        rest = [list(color) for color in np.unique(pixels[~known], axis=0).tolist()]
        raise UserError(
            f"mask '{path}' has {first_of(rest, 'color')} in {(~known).sum()} pixels, not among the colors of the "
            f"classes; correct the mask or, in a 'folder', classes.json: {_remedy(rest, num_classes, colors)}"
        )
    return np.where(positions < num_classes, positions, VOID).astype(np.uint8)


def positions_of(entries: Array, colors: tuple[Color, ...]) -> NDArray[np.intp] | None:
    """Return the position of each color (N, 3) among ``colors``; None if one of them is not there."""
    positions, known = _positions(entries, colors)
    return positions if known.all() else None


def _remedy(rest: Sequence[list[int]], num_classes: int, colors: tuple[Color, ...]) -> str:
    """Suggest a fix for colors that the palette lacks."""
    if all(red == green == blue < num_classes for red, green, blue in rest):
        return "they look like class indices in three equal channels: save one of them"
    if len(colors) > num_classes:
        return (
            'if they are classes, add their names to the end of "classes" and their colors to "palette" before its '
            f"last entry, the color of void; void pixels must have that color, {list(colors[-1])}"
        )
    if len(rest) > 1:
        return (
            'if they are classes, add their names to the end of "classes" and their colors to the end of "palette" '
            "(one more color than classes means void); if they are blends, save masks without smoothing"
        )
    return (
        f'if {rest[0]} is void, add it to the end of "palette"; if it is a class, add its name to "classes" and the '
        'color at the same position of "palette"'
    )


def _positions(pixels: Array, colors: tuple[Color, ...]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the position of each pixel's color (..., 3) among ``colors``, and whether it is among them."""
    codes, known = _codes(pixels), _codes(np.array(colors, dtype=np.uint8))
    order = known.argsort()
    positions = order[np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)]
    return positions, known[positions] == codes


def _codes(pixels: Array) -> NDArray[np.int32]:
    red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
    codes: NDArray[np.int32] = red << 16 | green << 8 | blue
    return codes


def first_of(values: Sequence[object], word: str = "label") -> str:
    """Write the first four values, for example ``labels 7, 9``."""
    return f"{word}{'s' if len(values) > 1 else ''} {few(values, 4)}"
