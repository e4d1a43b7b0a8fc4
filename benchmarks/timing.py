"""Times of several pieces of work, taken in turns in one process, and their ratios with a spread.

On a CPU the time is processor time, so that other jobs on the machine do not count; on an accelerator it is the time
between two synchronizations.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

import torch

Work = Callable[[], object]


@dataclass(frozen=True)
class Figure:
    """One measured figure: the median of the rounds, and the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        return cls(median(values), min(values), max(values))

    def as_record(self) -> dict[str, float]:
        return {name: float(f"{value:.4g}") for name, value in asdict(self).items()}

    @property
    def spread(self) -> float:
        return self.most - self.least


def seconds(work: Work, device: str) -> float:
    if device == "cpu":
        began = time.process_time()
        work()
        return time.process_time() - began
    torch.accelerator.synchronize()
    began = time.perf_counter()
    work()
    torch.accelerator.synchronize()
    return time.perf_counter() - began


def in_turns(sides: Mapping[str, Work], rounds: int, device: str) -> dict[str, list[float]]:
    """Return the seconds of each side in each round, without a first round that warms up.

    The sides take turns, in the opposite order in every other round, so that a slow moment of the machine meets all.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for work in sides.values():
        seconds(work, device)
    for turn in range(rounds):
        for name in list(sides) if turn % 2 else reversed(sides):
            times[name].append(seconds(sides[name], device))
    return times


def ratio(times: Sequence[float], base: Sequence[float], scale: float = 1.0) -> Figure:
    """Return the ratio of two sides that took turns: of each round to the same round of the base."""
    return Figure.of([scale * a / b for a, b in zip(times, base, strict=True)])
