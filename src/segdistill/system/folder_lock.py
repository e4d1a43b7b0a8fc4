"""Work on a folder by one process at a time. Others wait."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from segdistill.errors import UserError

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]


FILE = ".lock"
"""The file in the folder that is locked. It stays there, empty."""


@contextmanager
def alone_in(folder: Path, *, waits: Callable[[], None], remedy: str) -> Iterator[None]:
    """Lock an existing folder. The lock ends with the process, even if that is killed.

    Args:
        folder: The folder.
        waits: Called once if another process holds the lock.
        remedy: What to do about a file system without locks, for the error.

    Raises:
        UserError: If the file system has no locks.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waits()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise UserError(f"'{folder}' cannot be locked: {error.strerror}; {remedy}") from error
        yield
    finally:
        os.close(descriptor)
