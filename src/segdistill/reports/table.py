"""A table of numbers that knows its units, and its forms: Markdown, LaTeX, CSV, JSON, the screen.

The forms are a few lines each. pandas would bring all four, at the price of pandas, tabulate and jinja2 as
dependencies of a package that has no other use for them.
"""

import csv
import io
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table as ScreenTable


@dataclass(frozen=True)
class Spread:
    """One quantity over several seeds; at least one value."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation (n - 1 in the denominator); None of one value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


Cell = str | int | float | Spread | None


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        key: Its name for programs, with the unit.
        title: Its name for readers.
        digits: Digits after the point; a whole number has none.
        signed: Write a plus before what is not negative.
        spreads: Its cells are spreads (or nothing).
    """

    key: str
    title: str
    digits: int = 2
    signed: bool = False
    spreads: bool = False

    def show(self, cell: Cell) -> str:
        """Write a cell as people read it."""
        if cell is None:
            return "-"
        if isinstance(cell, str):
            return cell
        if isinstance(cell, Spread):
            around = "" if cell.deviation is None else f" ± {cell.deviation:.{self.digits}f}"
            return self.show(cell.mean) + around
        if isinstance(cell, int):
            return f"{cell:+d}" if self.signed else str(cell)
        return f"{cell:{'+' if self.signed else ''}.{self.digits}f}"


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns; the first column names the row."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def markdown(table: Table) -> str:
    """Write a table as Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    aligned = "|---|" + "---:|" * (len(table.columns) - 1)
    body = [line([column.show(cell) for column, cell in _pairs(table, row)]) for row in table.rows]
    return "\n".join([line([column.title for column in table.columns]), aligned, *body]) + "\n"


def latex(table: Table, *, notes: Sequence[str] = ()) -> str:
    """Write a table for LaTeX with the package booktabs, as a float whose caption is its title and the notes."""
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
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{letter: "\\" + letter for letter in "&%$#_{}"},
}


def escape(text: str) -> str:
    """Write text so that LaTeX prints it as it is."""
    return re.sub(r"[\\~^±<>&%$#_{}]", lambda found: _SPECIAL[found[0]], text)


def comma_separated(table: Table) -> str:
    """Write a table as CSV at full precision; a spread is its mean and, under KEY_std, its standard deviation."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        name for column in table.columns for name in ([column.key, f"{column.key}_std"][: 1 + column.spreads])
    )
    for row in table.rows:
        line: list[Any] = []
        for column, cell in _pairs(table, row):
            mean = cell.mean if isinstance(cell, Spread) else cell
            deviation = cell.deviation if isinstance(cell, Spread) else None
            line += [mean, deviation] if column.spreads else [mean]
        writer.writerow(line)
    return file.getvalue()


def as_json(table: Table) -> list[dict[str, Any]]:
    """Return a table as objects by key; a spread is its mean, standard deviation and values."""
    return [{column.key: _plain(cell) for column, cell in _pairs(table, row)} for row in table.rows]


def on_screen(table: Table) -> ScreenTable:
    """Draw a table for the console."""
    drawn = ScreenTable(box=None, pad_edge=False)
    for number, column in enumerate(table.columns):
        drawn.add_column(column.title, justify="right" if number else "left")
    for row in table.rows:
        drawn.add_row(*(column.show(cell) for column, cell in _pairs(table, row)))
    return drawn


def _plain(cell: Cell) -> Any:
    if isinstance(cell, Spread):
        return {"mean": cell.mean, "std": cell.deviation, "values": list(cell.values)}
    return cell


def _pairs(table: Table, row: tuple[Cell, ...]) -> list[tuple[Column, Cell]]:
    return list(zip(table.columns, row, strict=True))
