"""Signals that wait: Ctrl-C, SIGTERM and SIGHUP take effect between two steps of the work."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_asked = threading.Event()


def ask_to_stop() -> None:
    """Stop the work of this process after its step, as a signal does. Asking again changes nothing."""
    _asked.set()


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Defer Ctrl-C, SIGTERM and SIGHUP until the step is finished. A second signal raises KeyboardInterrupt at once.

    If SIGHUP is ignored, as under ``nohup``, it stays ignored.

    Yields:
        A function that returns True once a signal has arrived or :func:`ask_to_stop` was called.
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
        yield lambda: bool(caught) or _asked.is_set()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
