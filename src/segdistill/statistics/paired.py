"""Paired differences over seeds: mean, deviation, interval and probability by Student's t; Holm's adjustment."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from segdistill.statistics.student_t import critical_t, seeds_needed, two_sided_p

Interval = tuple[float, float]


@dataclass(frozen=True)
class Paired:
    """Statistics of paired differences.

    Attributes:
        mean: The mean of the differences.
        deviation: Their sample standard deviation (n - 1 in the denominator); None for a single pair.
        interval: The 95 % confidence interval of the mean by Student's t; None for a single pair.
        p: The two-sided probability of a mean at least as far from 0 if there is no difference; None for a single pair.
    """

    mean: float
    deviation: float | None = None
    interval: Interval | None = None
    p: float | None = None

    @property
    def needed(self) -> int | None:
        """The pairs that a difference of this size needs, see :func:`seeds_needed`; None if unknown or above 100."""
        return None if self.deviation is None else seeds_needed(self.mean, self.deviation)


def paired(differences: Sequence[float]) -> Paired:
    """Return the statistics of differences, one for each seed; at least one.

    >>> found = paired([1.0, 2.0, 3.0])
    >>> found.mean, found.deviation, [round(end, 3) for end in found.interval]
    (2.0, 1.0, [-0.484, 4.484])
    """
    mean, count = fmean(differences), len(differences)
    if count < 2:
        return Paired(mean)
    deviation = stdev(differences)
    margin = critical_t(count - 1) * deviation / math.sqrt(count)
    t = mean / deviation * math.sqrt(count) if deviation else math.copysign(math.inf, mean) if mean else 0.0
    return Paired(mean, deviation, (mean - margin, mean + margin), two_sided_p(t, count - 1))


def excludes_zero(interval: Interval) -> bool:
    """Return whether an interval is entirely above or below 0, so that a difference exceeds it."""
    return interval[0] > 0 or interval[1] < 0


def holm(probabilities: Sequence[float]) -> list[float]:
    """Return the probabilities adjusted for their number by Holm's method.

    >>> [round(p, 2) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(probabilities)), key=lambda index: probabilities[index])
    adjusted, largest = [0.0] * len(probabilities), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * probabilities[index]))
        adjusted[index] = largest
    return adjusted
