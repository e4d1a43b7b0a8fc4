"""Tables of numbers with units, written as Markdown, LaTeX, CSV, JSON or for the screen.

Each writer takes a few lines. pandas would provide them, but with pandas, tabulate and jinja2 as dependencies that this
package does not need otherwise.
"""

import csv
import io
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import JustifyMethod
from rich.table import Table as ScreenTable


@dataclass(frozen=True)
class Spread:
    """The values of one quantity over seeds; at least one value."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation (n - 1 in the denominator); None for a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


def spread_of(values: Sequence[float | None]) -> Spread | None:
    """Return the spread of the values that are not None; None if there are none."""
    present = tuple(value for value in values if value is not None)
    return Spread(present) if present else None


@dataclass(frozen=True)
class Range:
    """The ends of an interval."""

    low: float
    high: float


Cell = str | int | float | Spread | Range | None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: The name for programs, with the unit.
        title: The name for readers.
        digits: The number of digits after the point; integers have none.
        significant: Whether ``digits`` counts from the first digit that is not 0, without zeros at the end.
        signed: Whether to write a plus sign before numbers that are not negative.
        spreads: Whether the cells are spreads (or None).
        ranges: Whether the cells are ranges (or None).
    """

    key: str
    title: str
    digits: int = 2
    significant: bool = False
    signed: bool = False
    spreads: bool = False
    ranges: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of its numbers: KEY; KEY and KEY_std for spreads; KEY_low and KEY_high for ranges."""
        if self.ranges:
            return f"{self.key}_low", f"{self.key}_high"
        return (self.key, f"{self.key}_std") if self.spreads else (self.key,)

    def show(self, cell: Cell) -> str:
        """Return a cell as text for readers."""
        if cell is None:
            return "-"
        if isinstance(cell, str):
            return cell
        if isinstance(cell, Spread):
            around = "" if cell.deviation is None else f" ± {cell.deviation:.{self.digits}f}"
            return self.show(cell.mean) + around
        if isinstance(cell, Range):
            return f"{self.show(cell.low)} to {self.show(cell.high)}"
        if isinstance(cell, int):
            return f"{cell:+d}" if self.signed else str(cell)
        return f"{cell:{'+' if self.signed else ''}.{self.digits}{'g' if self.significant else 'f'}}"


@dataclass(frozen=True)
class Table:
    """Columns and rows of cells; the first cell of a row is its name."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def where(self, key: str, value: Cell) -> "Table":
        """Return the table with only the rows that have a value in the column of this key."""
        number = [column.key for column in self.columns].index(key)
        return Table(self.title, self.columns, tuple(row for row in self.rows if row[number] == value))

    def without(self, *keys: str) -> "Table":
        """Return the table without the columns of these keys."""
        kept = [number for number, column in enumerate(self.columns) if column.key not in keys]
        rows = tuple(tuple(row[number] for number in kept) for row in self.rows)
        return Table(self.title, tuple(self.columns[number] for number in kept), rows)


def markdown(table: Table) -> str:
    """Return a table as Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    aligned = "|---|" + "---:|" * (len(table.columns) - 1)
    body = [line([column.show(cell) for column, cell in _pairs(table, row)]) for row in table.rows]
    return "\n".join([line([column.title for column in table.columns]), aligned, *body]) + "\n"


def latex(table: Table, *, notes: Sequence[str] = ()) -> str:
    """Return a table as LaTeX for the package booktabs: a float whose caption is the title and the notes."""
    body = []
    for row in table.rows:
        body.append(" & ".join(escape(column.show(cell)) for column, cell in _pairs(table, row)) + r" \\")
    head = " & ".join(escape(column.title) for column in table.columns) + r" \\"
    caption = escape("; ".join([table.title, *notes]) + ".")
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{letter: "\\" + letter for letter in "&%$#_{}"},
}


def escape(text: str) -> str:
    """Return text with LaTeX's special characters escaped.

    A minus before a number is in a formula, because LaTeX sets it as a hyphen otherwise. A leading ``[`` or ``*`` is in
    braces: after ``\\\\`` or a rule of a table, LaTeX reads it as an optional argument.
    """
    escaped = re.sub(r"[\\~^±|<>&%$#_{}]", lambda match: _SPECIAL[match[0]], text)
    escaped = re.sub(r"(?<![\w.-])-(?=\.?\d)", "$-$", escaped)
    return re.sub(r"^\s*([\[*])", r"{\1}", escaped)


def comma_separated(table: Table) -> str:
    """Return a table as CSV at full precision, with the columns :attr:`Column.keys`."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(name for column in table.columns for name in column.keys)
    for row in table.rows:
        writer.writerow(number for column, cell in _pairs(table, row) for number in _numbers(column, cell))
    return file.getvalue()


def _numbers(column: Column, cell: Cell) -> tuple[Any, ...]:
    if isinstance(cell, Spread):
        return cell.mean, cell.deviation
    if isinstance(cell, Range):
        return cell.low, cell.high
    return (cell, *[None] * (len(column.keys) - 1))


def as_json(table: Table) -> list[dict[str, Any]]:
    """Return the rows as objects by key.

    A spread is an object with ``mean``, ``std`` and ``values``; a range is one with ``low`` and ``high``.
    """
    return [{column.key: _plain(cell) for column, cell in _pairs(table, row)} for row in table.rows]


def on_screen(table: Table, *, unbroken: Sequence[str] = ()) -> ScreenTable:
    """Return a table for the console.

    Args:
        table: The table.
        unbroken: The keys of columns whose cells are not wrapped.
    """
    screen = ScreenTable(box=None, pad_edge=False)
    for number, column in enumerate(table.columns):
        justify: JustifyMethod = "right" if number else "left"
        screen.add_column(column.title, justify=justify, no_wrap=column.key in unbroken, overflow="fold")
    for row in table.rows:
        screen.add_row(*(column.show(cell) for column, cell in _pairs(table, row)))
    return screen


def _plain(cell: Cell) -> Any:
    if isinstance(cell, Spread):
        return {"mean": cell.mean, "std": cell.deviation, "values": list(cell.values)}
    if isinstance(cell, Range):
        return {"low": cell.low, "high": cell.high}
    return cell


def _pairs(table: Table, row: tuple[Cell, ...]) -> list[tuple[Column, Cell]]:
    return list(zip(table.columns, row, strict=True))


def capital(text: str) -> str:
    """Return the text with a capital at the beginning."""
    return text[0].upper() + text[1:]
