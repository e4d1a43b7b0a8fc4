"""The frame rate and its parts, on a clock of the test."""

from collections.abc import Iterator

import pytest

from segdistill.frames import stopwatch
from segdistill.frames.stopwatch import Stopwatch


class Clock:
    time = 5.0

    def perf_counter(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(stopwatch, "time", found)
    return found


def test_the_parts_are_the_whole_time(clock: Clock) -> None:
    def frames() -> Iterator[int]:
        for number in range(4):
            clock.time += 0.5
            yield number
        clock.time += 0.25  # to find that there are no more

    watch = Stopwatch()
    for _ in watch.reading(frames()):
        with watch.part("network"):
            clock.time += 2
        with watch.part("writing"):
            clock.time += 1
    assert watch.frames == 4
    assert watch.seconds == {"reading": 2.25, "network": 8, "writing": 4}
    assert str(watch) == (
        "4 frames in 14.2 s, 0.3 frames/s; for each: network 2000.0 ms, waiting for reading 562.5 ms, "
        "waiting for writing 1000.0 ms"
    )


def test_a_part_that_fails_counts(clock: Clock) -> None:
    watch = Stopwatch()
    with pytest.raises(ZeroDivisionError), watch.part("network"):
        clock.time += 3
        raise ZeroDivisionError
    assert watch.seconds["network"] == 3


def test_nothing_and_one() -> None:
    watch = Stopwatch()
    assert str(watch).startswith("0 frames in 0.0 s, 0.0 frames/s; for each: network 0.0 ms")
    list(watch.reading("a"))
    assert str(watch).startswith("1 frame in ")
