"""Frame rate of a prediction, and what the time is spent on."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """Seconds in the network, and of waiting for threads that read and write. Together they are the whole time.

    Attributes:
        frames: The number of frames so far.
        seconds: Seconds for each part: ``reading``, ``network``, ``writing``.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.seconds = {"reading": 0.0, "network": 0.0, "writing": 0.0}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time of a block as one part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def reading(self, frames: Iterable[Item]) -> Iterator[Item]:
        """Yield frames, and count them and the time until each is there."""
        left = iter(frames)
        while True:
            with self.part("reading"):
                try:
                    frame = next(left)
                except StopIteration:
                    return
            self.frames += 1
            yield frame

    def __str__(self) -> str:
        seconds, count = max(sum(self.seconds.values()), 1e-9), max(self.frames, 1)
        network, reading, writing = (
            f"{1000 * self.seconds[name] / count:.1f} ms" for name in ("network", "reading", "writing")
        )
        return (
            f"{self.frames} frame{'' if self.frames == 1 else 's'} in {seconds:.1f} s, "
            f"{self.frames / seconds:.1f} frames/s; for each: network {network}, waiting for reading {reading}, "
            f"waiting for writing {writing}"
        )
