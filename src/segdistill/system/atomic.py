"""Atomic writes: a file is written under a temporary name, synced to disk, and then renamed."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from segdistill.errors import UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` once it is on disk. The folder is created if needed.

    Until then, and after any error, ``path`` keeps its content. A symbolic link at ``path`` is replaced, not followed.

    Raises:
        UserError: The disk is full, or the folder cannot be written to.
    """
    unfinished = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)  # left by a killed process, or a link, which must not be followed
        try:
            with unfinished.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> UserError:
    """Return the error for a file that cannot be written."""
    remedy = "make room" if error.errno in NO_ROOM else "fix the cause"
    reason = error.strerror or error
    return UserError(f"cannot write {path}: {reason}; any old content is kept; {remedy} and run the same command again")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, with :func:`replacing`."""
    with replacing(path) as file:
        file.write(text.encode())


def _sync_folder(folder: Path) -> None:
    """Sync a folder to disk, so that a new name in it is stored, if the system can open folders."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
