"""Console that all commands print on."""

import logging
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


class _Screen(Console):
    """Console that escapes control characters in text. The control codes of rich itself are kept."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render an object, with control characters in its text escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


# In a file or pipe, lines are 200 characters wide, so that tables keep their columns.
# Of several processes, only the first prints.
console = _Screen(
    width=None if sys.stdout.isatty() else 200,
    quiet=not is_first_process(),
    highlight=False,
    markup=False,  # a class may be called "road [wet]"
)


def listen() -> None:
    """Print the messages that the package logs from now on, each once."""
    logger = logging.getLogger("segdistill")
    logger.setLevel(logging.INFO)
    logger.handlers = [_OnConsole()]


class _OnConsole(logging.Handler):
    """Logging handler that prints each message once.

    Messages are for instance which weights of a file match, or which classes were found in masks. The teacher, the
    distilled student and the student alone log the same message for the same file.
    """

    def __init__(self) -> None:
        super().__init__()
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        text = record.getMessage()
        if text not in self._printed:
            self._printed.add(text)
            console.print(text, soft_wrap=True)
