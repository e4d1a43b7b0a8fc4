"""Console that escapes control characters, wide in a file, and silent in all processes but the first."""

import re
import sys
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from segdistill.system.processes import is_first_process

# Characters that control a terminal, change the direction of text, or cannot be printed. Names of files and classes may
# contain them.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return the text with control characters replaced by their escapes."""
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


class Screen(Console):
    """Console that escapes control characters in text. The control codes of rich itself are kept."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render an object, with control characters in its text escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def open_console() -> Console:
    """Return a console on the standard output.

    In a file or pipe, lines are 200 characters wide, so that tables keep their columns. Of several processes, only the
    first prints.
    """
    console = Screen(
        quiet=not is_first_process(),
        highlight=False,
        markup=False,  # a class may be called "road [wet]"
    )
    if not (sys.stdout.isatty() or console.is_jupyter):
        console.width = 200
    return console
