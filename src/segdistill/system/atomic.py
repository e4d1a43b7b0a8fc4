"""Atomic writes: a file is written under a temporary name, synced to disk, and then renamed."""

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
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
    with replacing_together(path) as (file,):
        yield file


@contextmanager
def replacing_together(*paths: Path) -> Iterator[tuple[BinaryIO, ...]]:
    """Open a temporary file for each of some paths. They replace the paths once all of them are on disk.

    Until then, and after any error, all paths keep their content, so that files that belong together appear together.

    Raises:
        UserError: As for :func:`replacing`.
    """
    current = paths[0]  # for the message
    unfinished = [path.with_name(path.name + ".tmp") for path in paths]
    try:
        with ExitStack() as opened:
            files = []
            for path, temporary in zip(paths, unfinished, strict=True):
                current = path
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary.unlink(missing_ok=True)  # left by a killed process, or a link, which must not be followed
                opened.callback(temporary.unlink, missing_ok=True)  # after a rename it is gone
                files.append(opened.enter_context(temporary.open("xb")))
            current = paths[0]
            yield tuple(files)
            for path, file in zip(paths, files, strict=True):
                current = path
                file.flush()
                os.fsync(file.fileno())
                file.close()  # some systems rename closed files only
            for path, temporary in zip(paths, unfinished, strict=True):
                current = path
                temporary.replace(path)
        for folder in dict.fromkeys(path.parent for path in paths):
            _sync_folder(folder)
    except OSError as error:
        raise unwritable(current, error) from error


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
