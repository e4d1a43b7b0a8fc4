"""Reading ahead and writing behind: the order, the number of items that wait, errors."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import pytest

from segdistill.frames.ahead import AHEAD, Backlog, read_ahead


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [0, 1, AHEAD, 11])
def test_items_keep_their_order(threads: int, count: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        assert list(read_ahead(pool, (partial(int, number) for number in range(count)))) == list(range(count))


def test_only_a_few_are_read_ahead() -> None:
    started: list[int] = []

    def calls() -> list[Callable[[], None]]:
        return [partial(started.append, number) for number in range(20)]

    with ThreadPoolExecutor(1) as pool:
        items = read_ahead(pool, calls())
        next(items)
        next(items)
    assert started == list(range(2 + AHEAD))


def test_an_error_comes_in_its_place() -> None:
    with ThreadPoolExecutor(2) as pool:
        items = read_ahead(pool, [partial(int, "1"), partial(int, "x"), partial(int, "3")])
        assert next(items) == 1
        with pytest.raises(ValueError, match="'x'"):
            next(items)


def test_few_calls_wait_to_be_made() -> None:
    open_gate, done = Event(), []

    def work(number: int) -> None:
        open_gate.wait()
        done.append(number)

    with ThreadPoolExecutor(1) as pool:
        backlog = Backlog()
        for number in range(AHEAD):
            backlog.add(pool, work, number)
        assert done == []
        open_gate.set()
        backlog.add(pool, work, AHEAD)  # waits for the first
        assert done[:1] == [0]
        backlog.finish()
        assert done == list(range(AHEAD + 1))


def test_an_error_of_a_call_is_raised() -> None:
    with ThreadPoolExecutor(1) as pool:
        backlog = Backlog()
        backlog.add(pool, int, "x")
        with pytest.raises(ValueError, match="'x'"):
            backlog.finish()
