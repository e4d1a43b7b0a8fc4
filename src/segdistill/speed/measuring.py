"""The fastest of several ways to do the same work, by a few passes that take turns."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import TypeVar

import torch

T = TypeVar("T")


def seconds_of(work: Mapping[T, Callable[[], object]], device: torch.device, *, rounds: int = 3) -> dict[T, float]:
    """Return the median time of each way, after a first pass that does not count.

    The ways take turns, so that a slow moment of the machine meets all.
    """
    times: dict[T, list[float]] = {key: [] for key in work}
    for turn in range(rounds + 1):
        for key, run in work.items():
            _wait(device)
            began = time.perf_counter()
            run()
            _wait(device)
            if turn:
                times[key].append(time.perf_counter() - began)
    return {key: median(values) for key, values in times.items()}


def fastest(seconds: Mapping[T, float], usual: T, *, gain: float) -> T:
    """Return the fastest way; the usual one if no other is faster by the factor ``gain``."""
    best = min(seconds, key=seconds.__getitem__)
    return best if seconds[usual] >= gain * seconds[best] else usual


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
