"""Where everything is printed."""

import logging
import re
import sys
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from segdistill.system.processes import is_first_process

# What steers a terminal, turns the direction of text, or cannot be printed; names of files and classes may hold it.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return text with every character that would do something else than to be read shown as its escape."""
    return _STEERING.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


class _Screen(Console):
    """Lets through to the terminal only what can be read, and what this program itself steers it with."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render anything, as a whole or a part of something."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


# Into a file or pipe, tables keep their columns instead of being cut to 80 characters.
# Of several processes only the first one speaks.
console = _Screen(
    width=None if sys.stdout.isatty() else 200,
    quiet=not is_first_process(),
    highlight=False,
    markup=False,  # a class may be called "road [wet]"
)


def listen() -> None:
    """Print what the package logs from here on, each message once."""
    logger = logging.getLogger("segdistill")
    logger.setLevel(logging.INFO)
    logger.handlers = [_OnConsole()]


class _OnConsole(logging.Handler):
    """Prints what matched of a file of weights, which classes were found in masks, what a budget lifts.

    Teacher, student and student alone say the same of the same file; said once it is said.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        text = record.getMessage()
        if text not in self._said:
            self._said.add(text)
            console.print(text, soft_wrap=True)
