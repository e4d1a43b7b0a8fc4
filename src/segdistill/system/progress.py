"""Progress of long work. Whoever works tells how far it is; whoever has a screen listens."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

Item = TypeVar("Item")

# A speed is measured over this many seconds.
WINDOW = 20.0


class Listener(Protocol):
    """Receives how far long work is."""

    def hear(self, what: str, done: int, total: int | None) -> None:
        """Receive that ``done`` of ``total`` items of the work ``what`` are done; None is an unknown total."""

    def end(self, what: str) -> None:
        """Receive that the work has ended, or was given up."""


_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let a listener hear of all work in this block. Of several, only the innermost hears."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
        listener.end("")  # after an error, the work may not have told its end


def tracked(items: Iterable[Item], what: str, total: int | None) -> Iterator[Item]:
    """Yield the items, and tell the listener after each.

    Args:
        items: The items of the work.
        what: The name of the work, as in ``scoring the student``.
        total: The number of items; None if it is unknown.
    """
    listener = _listeners[-1] if _listeners else None
    try:
        for done, item in enumerate(items, start=1):
            yield item
            if listener is not None:
                listener.hear(what, done, total)
    finally:
        if listener is not None:
            listener.end(what)


class Speed:
    """Speed of work over the last seconds, without its pauses.

    Args:
        start: The number of items done at the beginning.
    """

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self._marks: deque[tuple[int, float]] = deque([(start, self._now())])
        self._paused = 0.0

    def at(self, done: int) -> float:
        """Return the items per second over the last :data:`WINDOW` seconds, or since the last call if that is longer.

        Args:
            done: The number of items done by now.
        """
        now = self._now() - self._paused
        while len(self._marks) > 1 and self._marks[1][1] <= now - WINDOW:
            self._marks.popleft()
        first, began = self._marks[0]
        if done > self._marks[-1][0]:
            self._marks.append((done, now))
        return (done - first) / max(now - began, 1e-9)

    def left(self, done: int, total: int) -> float:
        """Return the seconds that are left at this speed, with pauses as frequent and as long as so far."""
        per_item = 1 / max(self.at(done), 1e-9) + self._paused / max(done - self.start, 1)
        return (total - done) * per_item

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave the time of this block out of the speed."""
        began = self._now()
        try:
            yield
        finally:
            self._paused += self._now() - began

    @staticmethod
    def _now() -> float:
        return time.monotonic()
