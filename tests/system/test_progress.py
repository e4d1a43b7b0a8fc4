"""Progress: current speed, who hears, what is shown."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from segdistill.system import progress
from segdistill.system.progress import Speed, listening, tracked
from segdistill.training import console as screen
from segdistill.training.console import Narrator, Watcher
from tests.heard import Heard
from tests.tiny import said


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    monkeypatch.setattr(screen, "time", found)
    return found


def test_the_speed_is_current(clock: Clock) -> None:
    speed = Speed(start=10)
    for step in range(11, 21):  # ten slow steps, such as those that compile
        clock.time += 30
        found = speed.at(step)
    assert found == pytest.approx(1 / 30)
    for step in range(21, 61):
        clock.time += 1
        found = speed.at(step)
    assert found == pytest.approx(1)  # the mean since the start is 50 / 340
    assert speed.left(60, 100) == pytest.approx(40)


def test_a_pause_is_no_part_of_the_speed_but_of_the_time_left(clock: Clock) -> None:
    speed = Speed()
    for step in range(1, 11):
        clock.time += 1
        speed.at(step)
    with speed.pause():
        clock.time += 50
    assert speed.at(10) == pytest.approx(1)
    assert speed.left(10, 20) == pytest.approx(10 * (1 + 50 / 10))  # ten more steps, and another pause like this


def test_the_innermost_listener_hears() -> None:
    outer, inner = Heard(), Heard()
    with listening(outer):
        with listening(inner):
            assert list(tracked("ab", "letters", 2)) == ["a", "b"]
        list(tracked("c", "more", 1))
    assert list(tracked("d", "unheard", 1)) == ["d"]
    assert inner.lines == [("letters", 1, 2), ("letters", 2, 2), ("letters",), ("",)]
    assert outer.lines == [("more", 1, 1), ("more",), ("",)]


def test_work_that_fails_is_ended() -> None:
    heard = Heard()

    def broken() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), listening(heard):
        list(tracked(broken(), "work", 2))
    assert heard.lines == [("work", 1, 2), ("work",), ("",)]


def test_without_a_terminal_long_work_prints_a_line_now_and_then(clock: Clock, console: Console) -> None:
    with listening(Watcher(console)):
        for _ in tracked(range(25), "scoring the student", 25):
            clock.time += 1
    lines = said(console).splitlines()
    assert lines == ["scoring the student 11/25  1.0/s  14s left", "scoring the student 21/25  1.0/s  4s left"]


def test_work_of_unknown_length_shows_what_is_done_and_the_speed(clock: Clock, console: Console) -> None:
    with listening(Watcher(console)):
        for _ in tracked(iter(range(15)), "segmenting camera 0", None):
            clock.time += 1
    assert said(console).splitlines() == ["segmenting camera 0 11  1.0/s"]
    terminal = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    with listening(Watcher(terminal)):
        list(tracked(iter(range(3)), "segmenting camera 0", None))
    assert "/?" in terminal.file.getvalue()


def test_work_that_is_done_at_once_prints_nothing(console: Console) -> None:
    with listening(Watcher(console)):
        list(tracked(range(25), "scoring the student", 25))
    assert said(console) == ""


@pytest.mark.parametrize("is_training", [True, False])
def test_on_a_terminal_there_is_one_bar_that_disappears(is_training: bool) -> None:
    terminal = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    narrator = Narrator(terminal, "student")
    if is_training:
        narrator.begin(0, 4)
        narrator.step(1, {"loss": 1.0}, None)
        for _ in tracked(range(3), "scoring the student", 3):
            narrator._bar.refresh()
        narrator.step(2, {"loss": 1.0}, 0.5)
        narrator.close()
    else:
        with listening(Watcher(terminal)):
            list(tracked(range(3), "scoring the student", 3))
    written = terminal.file.getvalue()
    assert "scoring the student" in written
    assert terminal._live_stack == [] if hasattr(terminal, "_live_stack") else terminal._live is None


def test_a_training_shows_the_speed_of_its_last_steps(clock: Clock, console: Console) -> None:
    narrator = Narrator(console, "student")
    narrator.begin(0, 100)
    for step in (1, 50, 60):
        clock.time += 60 if step < 60 else 5
        narrator.step(step, {"loss": 1.0}, None)
    with narrator.pause():
        clock.time += 1000
    clock.time += 30
    narrator.step(90, {"loss": 1.0}, 0.5)
    narrator.close()
    lines = said(console).splitlines()
    assert "student 90/100  loss 1.000  1.00 it/s" in lines[-1]
    assert lines[-1].endswith("left  best on val 50.0%")
