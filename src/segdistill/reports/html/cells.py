"""Cells, tables and figures of the page, and how values become cells."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from markupsafe import Markup

from segdistill.reports.html.content import ALONE
from segdistill.reports.table import Cell, Range, Spread, Table


@dataclass(frozen=True)
class ShownCell:
    """A cell of a table in the page: its text, the value that sorts it, and the length of its bar, in percent."""

    text: str
    value: float | str | None
    bar: float | None = None

    @property
    def is_text(self) -> bool:
        """Whether the cell holds words, not a number."""
        return isinstance(self.value, str)


@dataclass(frozen=True)
class ShownTable:
    """A table in the page; the first cell of a row is its name."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[ShownCell, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A chart with its title and its key."""

    title: str
    chart: Markup
    key: str = ""
    moves: bool = False


def table_cell(table: Table, number: int, cell: Cell, *, bar: bool = False) -> ShownCell:
    """Return a cell of column ``number`` of a table. A bar is as long as the value, from 0 to 100 percent."""
    mean = cell.mean if isinstance(cell, Spread) else cell.low if isinstance(cell, Range) else cell
    length = max(0.0, min(100.0, mean)) if bar and isinstance(mean, int | float) else None
    return ShownCell(table.columns[number].show(cell), sort_value(mean) if isinstance(mean, str) else mean, length)


def text_cell(value: Any) -> ShownCell:
    """Return a cell with words; a dash if there are none."""
    return ShownCell("-", None) if value is None or value == "" else ShownCell(str(value), str(value))


def sort_value(text: str) -> float | str:
    """Return the number by which a text sorts, as in "3 of 10" and "> 100"; the text itself if there is none."""
    counted = re.fullmatch(r"(> )?(\d+)( of \d+)?", text)
    return text if counted is None else int(counted[2]) + (0.5 if counted[1] else 0.0)


def number_cell(value: float | None, factor: float, *, digits: int = 2, bar: bool = False) -> ShownCell:
    """Return a cell with ``factor * value``; a dash without a value. Four digits or more count from the first one."""
    if not isinstance(value, int | float):
        return ShownCell("-", None)
    scaled = factor * value
    text = f"{scaled:.{digits}f}" if digits < 4 else f"{scaled:.{digits}g}"
    return ShownCell(text, scaled, max(0.0, min(100.0, scaled)) if bar else None)


def named(text: Any) -> Any:
    """Return the name that the page shows for a method; other content stays as it is."""
    return ALONE if text == "none" else text


def mean_of(values: Iterable[Any]) -> float | None:
    """Return the mean of those values that are numbers; None if there are none."""
    numbers = [value for value in values if isinstance(value, int | float)]
    return fmean(numbers) if numbers else None
