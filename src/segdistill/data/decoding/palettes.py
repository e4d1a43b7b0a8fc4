"""Palettes of indexed masks: what they show, and whether an index is the label.

Lossless PNG optimizers give each file a palette in an arbitrary order. The picture stays the same, but its indices no
longer are the labels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile

from segdistill.data.classes import VOID, Color
from segdistill.data.decoding.examples import first_mask
from segdistill.data.decoding.sources import Array, Source
from segdistill.errors import UserError

_BLACK_AND_WHITE = {0: 0, 1: 255}


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


def gray_of_one(palette: Palette) -> int:
    """Return 255 if a palette shows 0 and 1 in black and white, as one bit does, else 1."""
    grays = palette.grays or {}
    return 255 if 1 in grays and grays.items() <= _BLACK_AND_WHITE.items() else 1


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
    for index in palette.used.tolist():
        color = list(palette.color(index))
        first = first_mask(place, index, path, color)
        if first.value != color:
            raise UserError(
                f"masks '{first.name}' and '{path}' show index {index} in two colors, {first.value} and {color}: each "
                'was given its own palette; save the masks in RGB, with "palette" in classes.json, or without palette '
                "if the indices are the labels"
            )
