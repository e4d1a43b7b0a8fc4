"""Schedules of weights: functions of the training progress, from 0 (first step) to 1 (last step).

AICSD's adaptive loss weighting uses two schedules: alpha for the task loss and ICSD, 1 - alpha for KD (AICSD, arXiv
2308.04243, Eq. 6-8). Its epochs are replaced by the continuous progress here.
"""

from collections.abc import Callable, Sequence
from functools import partial

Schedule = Callable[[float], float]


def constant(value: float) -> Schedule:
    """Return a schedule with the constant value ``value``."""
    return partial(_constant, value)


def linear(start: float, end: float, *, until: float = 1.0) -> Schedule:
    """Return a schedule that goes linearly from ``start`` to ``end`` until progress ``until``, then stays at ``end``.

    ``linear(0, 1)`` is alpha = (e - 1) / N_e of AICSD, Eq. 7; ``linear(1, 0)`` is its 1 - alpha.

    Raises:
        ValueError: Unless 0 < until <= 1.
    """
    if not 0 < until <= 1:
        raise ValueError(f"until must be a fraction of the run, in (0, 1], got {until}")
    return partial(_linear, start, end, until)


def exponential(start: float, end: float, *, beta: float = 0.985, epochs: int = 120) -> Schedule:
    r"""Return the schedule :math:`end + (start - end)\,\beta^{(epochs - 1) \cdot progress}`.

    It approaches ``end`` exponentially. ``exponential(0, 1)`` is alpha = 1 - beta^(e - 1), which grows from 0 to 0.834
    as in AICSD's text and figure. Eq. 8 of the paper is printed as beta^(e - 1), which decreases; that is
    ``exponential(1, 0)``.

    Raises:
        ValueError: Unless 0 < beta < 1 and epochs >= 1.
    """
    if not 0 < beta < 1 or epochs < 1:
        raise ValueError(f"expected 0 < beta < 1 and epochs >= 1, got beta={beta}, epochs={epochs}")
    return partial(_exponential, start, end, beta, epochs)


def steps(start: float, factor: float, *, at: Sequence[float]) -> Schedule:
    """Return a schedule that starts at ``start`` and is multiplied by ``factor`` at each progress in ``at``.

    Raises:
        ValueError: Unless every entry of ``at`` is in (0, 1).
    """
    if not all(0 < point < 1 for point in at):
        raise ValueError(f"at must hold fractions of the run, in (0, 1), got {list(at)}")
    return partial(_steps, start, factor, tuple(at))


# Top-level functions bound with partial, so that a schedule can be pickled.


def _constant(value: float, progress: float) -> float:
    return value


def _linear(start: float, end: float, until: float, progress: float) -> float:
    return start + (end - start) * min(progress / until, 1.0)


def _exponential(start: float, end: float, beta: float, epochs: int, progress: float) -> float:
    return float(end + (start - end) * beta ** ((epochs - 1) * progress))


def _steps(start: float, factor: float, at: tuple[float, ...], progress: float) -> float:
    return float(start * factor ** sum(progress >= point for point in at))
