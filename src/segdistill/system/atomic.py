"""Files that are always whole: written beside their place, put on the disk, and only then renamed."""

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
    """Open a file to be written in place of ``path``, whose folder is made; it takes the name once it is on the disk.

    Until then, and if anything goes wrong, ``path`` stays what it was. A symbolic link there is replaced, not followed.

    Raises:
        UserError: The disk is full, or the folder cannot be written to.
    """
    unfinished = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)  # of a process that was killed; or a link, which must not be followed
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
    remedy = "make room" if error.errno in NO_ROOM else "mend that"
    reason = error.strerror or error
    return UserError(f"cannot write {path}: {reason}; what was there is kept; {remedy} and run the same command again")


def write_text(path: Path, text: str) -> None:
    """Write a text file by :func:`replacing`."""
    with replacing(path) as file:
        file.write(text.encode())


def _sync_folder(folder: Path) -> None:
    """Put a new name on the disk, where the system lets a folder be opened for that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
