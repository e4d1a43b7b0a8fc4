"""Tables for a terminal of any width: names are never broken, other cells wrap."""

from collections.abc import Sequence

from rich.table import Table


def screen_table(*headers: str, names: Sequence[int] = (0,), show_header: bool = True) -> Table:
    """Return an empty table without lines.

    Args:
        headers: The titles of the columns.
        names: The indices of columns with names, which are never broken because users type or copy them.
        show_header: Whether to show the titles.
    """
    table = Table(box=None, pad_edge=False, show_header=show_header)
    for number, header in enumerate(headers):
        table.add_column(header, no_wrap=number in names, overflow="fold")
    return table
