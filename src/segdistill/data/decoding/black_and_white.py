"""Masks of two classes stored as black and white: 0 and 255."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache as remember
from pathlib import Path

import numpy as np

from segdistill.data.classes import VOID, Classes
from segdistill.data.datasets.saved_tables import SavedTable
from segdistill.data.decoding.images import Source
from segdistill.data.decoding.masks import read_values
from segdistill.data.decoding.notes import note
from segdistill.data.layouts import Layout
from segdistill.errors import UserError

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@remember
def with_black_and_white(layout: Layout) -> Layout:
    """Return a layout that reads 255 as a class if the masks of two classes hold 0 and 255 but never 1.

    The decision holds for the whole data set: masks of all splits are read until one has another value. Black is class
    0 and white is class 1, unless a palette defines them. If classes.json declares 255 as void, it stays void.
    """
    is_open = layout.name in ("folder", "hf") and layout.task == "segmentation"  # other layouts define their values
    if not is_open or (layout.classes is not None and len(layout.classes) != 2) or layout.void_is_given_as(VOID):
        return layout
    values: set[int] = set()
    for mask in _masks(layout):
        try:
            values.update(np.unique(read_values(mask)).tolist())
        except UserError:  # in colors or damaged; reading its labels raises the error
            continue
        if not values <= {0, 255, layout.void}:
            return layout
    if 255 not in values:
        return layout
    given = layout.colors or ()
    colors = given if {BLACK, WHITE} <= set(given[:2]) else (BLACK, WHITE)
    if layout.void not in (0, 255):
        colors = (*colors[:2], (layout.void,) * 3)
    classes = layout.classes or Classes(("class 0", "class 1"))
    black, white = (classes.names[colors.index(color)] for color in (BLACK, WHITE))
    note(layout.place, f"hold 0 and 255, never 1: 0 is read as '{black}' and 255 as '{white}'")
    return replace(layout, classes=classes, colors=colors, gray_is_color=True)


def _masks(layout: Layout) -> Iterator[Source]:
    for split in layout.splits:
        if split.tables:
            table = SavedTable(layout, split.name)
            yield from (table.mask(index) for index in range(len(table)))
        else:
            yield from (Path(path) for path in split.labels)
