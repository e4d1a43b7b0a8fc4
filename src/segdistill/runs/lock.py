"""A lock that allows one process per folder. It ends with the process that holds it, even if that is killed."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from segdistill.errors import UserError
from segdistill.system.processes import is_first_process

try:
    import fcntl
except ImportError:  # Windows has no such locks, so two processes in one folder are not detected there
    fcntl = None  # type: ignore[assignment]

FILE = ".lock"

# The locks of this process: a nested call for a folder that it already holds must not wait for itself.
_held: dict[Path, int] = {}


def check_free(folder: Path) -> None:
    """Raise if another process works in ``folder``.

    Raises:
        UserError: Another process works there; the message names it.
    """
    file = folder / FILE
    if is_first_process() and folder.resolve() not in _held and file.exists():
        with suppress(OSError):
            descriptor = os.open(file, os.O_RDONLY)
            try:
                _lock(descriptor, folder)
            finally:
                os.close(descriptor)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Create ``folder`` if needed and lock it for this process. If several processes share a run, the first locks it.

    On a file system without locks this locks nothing.

    Raises:
        UserError: Another process works there; the message names it.
    """
    resolved = folder.resolve()
    if not is_first_process() or resolved in _held:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    _held[resolved] = descriptor = _locked(folder)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        del _held[resolved]
        with suppress(OSError):
            (folder / FILE).unlink()
        os.close(descriptor)


def _locked(folder: Path) -> int:
    """Return the descriptor of the lock file, opened and locked."""
    while True:
        descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, folder)
        except UserError:
            os.close(descriptor)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), (folder / FILE).stat()):
                return descriptor
        os.close(descriptor)  # the holder has just removed this file, and another process may have locked a new one


def _lock(descriptor: int, folder: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        raise UserError(
            f"{folder} is in use by process {holder}; wait until it ends, or give another --run-dir"
        ) from None
    except OSError:  # a network file system without locks
        return


def _let_go() -> None:
    """Close the lock files in a forked worker: it would otherwise keep the lock if the main process is killed."""
    for descriptor in _held.values():
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
