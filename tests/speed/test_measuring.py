"""The fastest way is chosen by medians, and only if it is clearly faster."""

import pytest
import torch

from segdistill.speed import measuring
from segdistill.speed.measuring import fastest, seconds_of


def test_the_usual_way_stays_unless_another_is_faster_by_the_gain() -> None:
    assert fastest({"usual": 1.0, "other": 0.95, "third": 2.0}, "usual", gain=1.1) == "usual"
    assert fastest({"usual": 1.1, "other": 1.0}, "usual", gain=1.1) == "other"
    assert fastest({"usual": 1.0, "other": 1.0}, "usual", gain=1.0) in ("usual", "other")


def test_seconds_are_medians_of_turns_without_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, durations = [0.0], {"a": iter([100.0, 3.0, 1.0, 2.0]), "b": iter([100.0, 5.0, 5.0, 50.0])}
    order: list[str] = []

    def work(name: str) -> None:
        order.append(name)
        clock[0] += next(durations[name])

    monkeypatch.setattr(measuring.time, "perf_counter", lambda: clock[0])
    found = seconds_of({name: (lambda name=name: work(name)) for name in "ab"}, torch.device("cpu"), rounds=3)
    assert found == {"a": 2.0, "b": 5.0}
    assert order == ["a", "b"] * 4
