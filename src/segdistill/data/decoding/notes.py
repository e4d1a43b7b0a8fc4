"""What is said of the masks of a data set: once, however many files hold it."""

import logging
from collections.abc import Callable

Note = Callable[[str], None]
"""Takes the rest of a sentence whose subject is the masks."""

_log = logging.getLogger(__name__)
_said: dict[tuple[str, str], object] = {}


def note(place: str, what: str) -> None:
    """Log ``masks under 'PLACE' WHAT``, the first time in this process; threads may call it at once."""
    mine = object()
    if _said.setdefault((place, what), mine) is mine:
        _log.warning("masks under '%s' %s", place, what)


def unsaid(what: str) -> None:
    """Say nothing."""
