"""Remarks about the masks of a data set, logged once instead of once per file."""

import logging
from collections.abc import Callable

Note = Callable[[str], None]
"""Takes a sentence about the masks without its subject, for example ``have three equal channels``."""

_log = logging.getLogger(__name__)
_logged: dict[tuple[str, str], object] = {}


def note(place: str, remark: str) -> None:
    """Log ``masks under 'PLACE' REMARK``, once per process. Thread-safe."""
    token = object()
    if _logged.setdefault((place, remark), token) is token:
        _log.warning("masks under '%s' %s", place, remark)


def ignore_note(remark: str) -> None:
    """Do nothing."""
