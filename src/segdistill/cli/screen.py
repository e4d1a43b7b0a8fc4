"""Console that all commands print on."""

import logging

from segdistill.system.terminal import open_console

console = open_console()


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
