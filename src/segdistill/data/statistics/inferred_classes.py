"""Classes that only the masks know."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache as remember
from functools import partial

import numpy as np

from segdistill.data.classes import VOID, Classes
from segdistill.data.datasets.saved_tables import SavedTable
from segdistill.data.decoding.images import Source, reading_threads
from segdistill.data.decoding.masks import read_values
from segdistill.data.decoding.notes import note
from segdistill.data.layouts import Layout
from segdistill.errors import UserError

_log = logging.getLogger(__name__)


@remember
def inferred_classes(layout: Layout) -> Classes:
    """Number the classes by the values that occur in all masks, and log what was found.

    Raises:
        UserError: If they are not 0, 1, ... without a gap; or for a damaged mask.
    """
    if layout.splits[0].tables:
        return _in_tables(layout)
    masks = [path for split in layout.splits for path in split.labels]
    return _numbered(masks.__getitem__, len(masks), layout.place)


def _in_tables(layout: Layout) -> Classes:
    tables = [SavedTable(layout, split.name) for split in layout.splits]
    items = [(table, index) for table in tables for index in range(len(table))]
    return _numbered(lambda place: items[place][0].mask(items[place][1]), len(items), layout.place)


def _numbered(mask: Callable[[int], Source], count: int, root: str) -> Classes:
    def values_of(index: int) -> set[int]:
        return set(np.unique(read_values(mask(index), note=partial(note, root))).tolist())

    with ThreadPoolExecutor(reading_threads()) as pool:
        values = set[int]().union(*pool.map(values_of, range(count)))
    found = sorted(values - {VOID})
    if found != list(range(max(2, len(found)))):
        shown = ", ".join(map(str, found[:12])) + (", ..." if len(found) > 12 else "")
        raise UserError(
            f"the masks under '{root}' hold the values {shown or 'none'} besides {VOID} (void); expected "
            "class indices 0, 1, ... without a gap: convert them, or name the classes in classes.json"
        )
    _log.warning("no classes.json: %d masks under '%s' hold classes 0..%d", count, root, found[-1])
    return Classes(tuple(f"class {index}" for index in found))
