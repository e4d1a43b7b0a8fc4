"""Signals that wait: Ctrl-C, SIGTERM and SIGHUP take effect between two steps of the work."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol


class Flag(Protocol):
    """An event of this process or, from ``multiprocessing``, of several."""

    def is_set(self) -> bool:
        """Return whether the work has to stop."""


_stop: Flag = threading.Event()


def stop_on(event: Flag) -> None:
    """Let an event of another process stop the work of this process after its step, as a signal does."""
    global _stop
    _stop = event


def has_to_stop() -> bool:
    """Return whether the event of :func:`stop_on` was set."""
    return _stop.is_set()


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Defer Ctrl-C, SIGTERM and SIGHUP until the step is finished. A second signal raises KeyboardInterrupt at once.

    If SIGHUP is ignored, as under ``nohup``, it stays ignored.

    Yields:
        A function that returns True once a signal has arrived, or the event of :func:`stop_on` was set.
    """
    caught: list[int] = []

    def catch(number: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # Windows has no SIGHUP
        numbers.append(signal.SIGHUP)
    try:
        before = {number: signal.signal(number, catch) for number in numbers}
    except ValueError:  # only the main thread may set signal handlers
        before = {}
    try:
        yield lambda: bool(caught) or has_to_stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
