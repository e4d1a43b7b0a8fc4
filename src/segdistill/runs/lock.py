"""One process a folder: a lock that ends with the process that holds it, however it ends."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from segdistill.errors import UserError
from segdistill.system.processes import is_first_process

try:
    import fcntl
except ImportError:  # Windows has no such locks, and two processes in one folder are not noticed there
    fcntl = None  # type: ignore[assignment]

FILE = ".lock"

# What this process holds: a run's folder is asked for again by what it is made of.
_held: dict[Path, int] = {}


def check_free(folder: Path) -> None:
    """Look whether another process works in ``folder``.

    Raises:
        UserError: One does; it is named.
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
    """Hold ``folder``, which is made, for this process; of several that share a run, the first one holds it.

    Where the file system has no locks nothing is held.

    Raises:
        UserError: Another process works there; it is named.
    """
    place = folder.resolve()
    if not is_first_process() or place in _held:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    _held[place] = descriptor = _locked(folder)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        del _held[place]
        with suppress(OSError):
            (folder / FILE).unlink()
        os.close(descriptor)


def _locked(folder: Path) -> int:
    """Return the lock's file, opened and locked."""
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
        os.close(descriptor)  # its holder has just removed it, and another process may hold a new one


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
    except OSError:  # a network's file system without locks
        return


def _let_go() -> None:
    """Close what a forked worker inherits: it would hold the lock of a process that was killed."""
    for descriptor in _held.values():
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
