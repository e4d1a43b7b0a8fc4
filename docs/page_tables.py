"""Tables that stand between two comments of a Markdown page, and are written anew from records."""

import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]


def filled(text: str, kinds: str, table: Callable[[str, str], str]) -> str:
    """Return the text of a page with ``table(kind, names)`` in each block of one of the kinds.

    A block is what stands between ``<!-- kind: names -->`` and ``<!-- end -->``.
    """
    block = re.compile(rf"(<!-- ({kinds}): ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return block.sub(lambda match: match[1] + table(match[2], match[3]) + match[4], text)


def write(page: Path, filled_page: Callable[[str], str]) -> None:
    """Write a page with its tables."""
    page.write_text(filled_page(page.read_text(encoding="utf-8")), encoding="utf-8")


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Return a table whose numbers, all columns but the first, are aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
