"""Tables for a terminal of any width: names stay whole, other cells go on in the next line."""

from collections.abc import Sequence

from rich.table import Table


def screen_table(*headers: str, names: Sequence[int] = (0,), show_header: bool = True) -> Table:
    """Return an empty table without lines.

    Args:
        headers: The columns' titles.
        names: The columns that hold names, which are never broken: people type or copy them.
        show_header: False leaves the titles out.
    """
    table = Table(box=None, pad_edge=False, show_header=show_header)
    for number, header in enumerate(headers):
        table.add_column(header, no_wrap=number in names, overflow="fold")
    return table
