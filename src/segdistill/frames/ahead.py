"""Work in threads while the network computes: inputs are read a few ahead, and results wait to be written."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import Any, TypeVar

Item = TypeVar("Item")

AHEAD = 4
"""The number of items that are read before the network needs them, and of results that wait to be written."""


def read_ahead(pool: Executor, calls: Iterable[Callable[[], Item]]) -> Iterator[Item]:
    """Yield what each call returns, in order. The pool is a few calls ahead."""
    waiting = iter(calls)
    started = deque(pool.submit(call) for call in islice(waiting, AHEAD))
    while started:
        result = started.popleft().result()
        started.extend(pool.submit(call) for call in islice(waiting, 1))
        yield result


class Backlog:
    """Calls that a pool makes later. Few of them wait at a time, so that results do not fill the memory."""

    def __init__(self) -> None:
        self._waiting: deque[Future[Any]] = deque()

    def add(self, pool: Executor, call: Callable[..., object], *arguments: object) -> None:
        """Let the pool make a call. If too many wait, wait for the first; its error is raised here."""
        self._waiting.append(pool.submit(call, *arguments))
        while len(self._waiting) > AHEAD:
            self._waiting.popleft().result()

    def finish(self) -> None:
        """Wait for all calls; the first error is raised."""
        while self._waiting:
            self._waiting.popleft().result()
