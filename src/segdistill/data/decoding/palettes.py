"""Palettes of indexed masks: what they show, and whether an index is the label.

Lossless PNG optimizers give each file a palette in an arbitrary order. The picture stays the same, but its indices no
longer are the labels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile

from segdistill.data.classes import VOID, Color
from segdistill.data.decoding.images import Array, Source, opened
from segdistill.errors import UserError

_BLACK_AND_WHITE = {0: 0, 1: 255}

_first_shown: dict[str, dict[int, tuple[Color, Source | str]]] = {}  # by the place of a data set, then by index


@dataclass(frozen=True)
class Palette:
    """The palette of a mask.

    Attributes:
        entries: The colors, (N, 3).
        used: The indices in use, ascending. 255 is left out: it is void in any color.
    """

    entries: Array
    used: NDArray[np.intp]

    def color(self, index: int) -> Color:
        """Return the color of an index."""
        red, green, blue = self.entries[index].tolist()
        return red, green, blue

    @property
    def grays(self) -> dict[int, int] | None:
        """The gray value of each index in use, if all entries are gray and these values are distinct."""
        if (self.entries != self.entries[:, :1]).any():
            return None
        shown = {index: int(self.entries[index, 0]) for index in self.used.tolist()}
        return shown if len(set(shown.values())) == len(shown) else None


def palette_of(picture: ImageFile) -> Palette | None:
    """Return the palette of a decoded picture; None if it has no palette, or one that lacks an index in use."""
    if picture.mode not in ("P", "PA"):
        return None
    entries = np.array(picture.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    used = np.flatnonzero(picture.histogram()[:VOID])  # faster than a search in the pixels
    return None if used.size and used[-1] >= len(entries) else Palette(entries, used)


def moved_gray(palette: Palette) -> tuple[int, int] | None:
    """Return an index in use that shows another gray value, and that value; None if the indices are the only reading.

    Index 1 may show white: a mask in black and white.
    """
    grays = palette.grays or {}
    if grays.items() <= _BLACK_AND_WHITE.items():
        return None
    return next(((index, gray) for index, gray in grays.items() if gray != index), None)


def check_grays(palette: Palette, path: Source, is_label: Callable[[int], bool]) -> None:
    """Check that a palette of grays cannot be meant as labels.

    Gray values that are labels throughout are what a mask without palette held before a program stored it with one.
    Other grays, such as 0, 85, 170 and 255 of four classes, only show the indices.

    Raises:
        UserError: If an index in use shows another gray value, and all gray values of the palette are labels.
    """
    moved = moved_gray(palette)
    if moved is not None and all(is_label(gray) for gray in np.unique(palette.entries).tolist()):
        raise uncertain_grays(path, moved)


def uncertain_grays(path: Source, moved: tuple[int, int]) -> UserError:
    """Return the error for a mask whose indices and gray values can both be labels."""
    index, gray = moved
    return UserError(
        f"mask '{path}' has a palette of grays, in which index {index} is gray {gray}: either can be the label, as PNG "
        "optimizers write such palettes; save the masks without palette: with Pillow, Image.open(path).convert('L') if "
        "the grays are the labels, Image.fromarray(numpy.array(Image.open(path))) if the indices are"
    )


def check_same_colors(place: str, path: Source, palette: Palette) -> None:
    """Check that the indices show the same colors as in the masks of a data set that this process read before.

    Palettes that were made for each file differ, and an index then means another class in each. A palette in which
    every index shows itself as gray value agrees with all others.

    Raises:
        UserError: If an index shows another color.
    """
    grays = palette.grays or {}
    if any(grays) and all(index == gray for index, gray in grays.items()):
        return
    known = _first_shown.setdefault(place, {})
    for index in palette.used.tolist():
        color = palette.color(index)
        first, where = known.setdefault(index, (color, path if isinstance(path, Path) else str(path)))
        if first == color:
            continue
        if isinstance(where, Path) and _color_in(where, index) != first:  # it has been corrected since
            known[index] = color, where
            continue
        raise UserError(
            f"masks '{where}' and '{path}' show index {index} in two colors, {list(first)} and {list(color)}: each "
            'was given its own palette; save the masks in RGB, with "palette" in classes.json, or without palette if '
            "the indices are the labels"
        )


def _color_in(path: Path, index: int) -> Color | None:
    """Return what an index shows in a file; None if it shows nothing."""
    try:
        with opened(path) as picture:
            picture.load()
            palette = palette_of(picture)
    except UserError:
        return None
    return palette.color(index) if palette is not None and index in palette.used else None
