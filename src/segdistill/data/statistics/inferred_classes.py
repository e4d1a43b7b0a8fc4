"""Classes of a data set, inferred from its masks."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache as remember
from functools import partial

import numpy as np

from segdistill.data.classes import VOID, Classes
from segdistill.data.datasets.saved_tables import SavedTable
from segdistill.data.decoding.images import Source, reading_threads
from segdistill.data.decoding.masks import read_stored
from segdistill.data.decoding.notes import note
from segdistill.data.decoding.palettes import check_same_colors, moved_gray, uncertain_grays
from segdistill.data.layouts import Layout
from segdistill.errors import UserError, few
from segdistill.system.progress import tracked

_log = logging.getLogger(__name__)


@remember
def inferred_classes(layout: Layout) -> Classes:
    """Infer the classes from the values that occur in all masks, and log them.

    Raises:
        UserError: If the values are not 0, 1, ... without a gap, or a mask is damaged.
    """
    if layout.splits[0].tables:
        return _in_tables(layout)
    masks = [path for split in layout.splits for path in split.labels]
    return _numbered(masks.__getitem__, len(masks), layout.place)


def _in_tables(layout: Layout) -> Classes:
    tables = [SavedTable(layout, split.name) for split in layout.splits]
    items = [(table, index) for table in tables for index in range(len(table))]

    def mask(index: int) -> Source:
        table, row = items[index]
        return table.mask(row)

    return _numbered(mask, len(items), layout.place)


def _numbered(mask: Callable[[int], Source], count: int, root: str) -> Classes:
    def values_of(index: int) -> tuple[set[int], set[int], UserError | None]:
        """Return the values, the values that a palette of grays shows instead, and the error if these are labels."""
        path = mask(index)
        stored, palette = read_stored(path, note=partial(note, root))
        values = set(np.unique(stored).tolist())
        if palette is None:
            return values, values, None
        check_same_colors(root, path, palette)
        if (moved := moved_gray(palette)) is None:
            return values, values, None
        return values, set((palette.grays or {}).values()), uncertain_grays(path, moved)

    values: set[int] = set()
    shown: set[int] = set()
    uncertain: UserError | None = None
    with ThreadPoolExecutor(reading_threads()) as pool:
        for stored, gray, error in tracked(pool.map(values_of, range(count)), "reading the values of all masks", count):
            values |= stored
            shown |= gray
            uncertain = uncertain or error
    if uncertain is not None and _are_numbered(shown):
        raise uncertain
    indices = sorted(values - {VOID})
    if not _are_numbered(values):
        raise UserError(
            f"the masks under '{root}' hold the values {few(indices, 12) or 'none'} in addition to {VOID} (void); "
            "expected class indices 0, 1, ... without a gap: convert them, or name the classes in classes.json"
        )
    _log.warning("no classes.json: %d masks under '%s' hold classes 0..%d", count, root, indices[-1])
    return Classes(tuple(f"class {index}" for index in indices))


def _are_numbered(values: set[int]) -> bool:
    """Return True if the values are 0, 1, ... without a gap, and perhaps 255."""
    labels = sorted(values - {VOID})
    return labels == list(range(max(2, len(labels))))
