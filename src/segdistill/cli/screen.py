"""Where everything is printed."""

import logging
import sys

from rich.console import Console

from segdistill.processes import is_first_process

# Into a file or pipe, tables keep their columns instead of being cut to 80 characters.
# Of several processes only the first one speaks.
console = Console(
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
