"""Student's t: two-sided probability, critical value, and the power of a paired test. Needs no package."""

import math
from functools import lru_cache

ALPHA, POWER = 0.05, 0.8
MOST_SEEDS = 100


def two_sided_p(t: float, freedom: int) -> float:
    r"""Return the probability that the absolute value of Student's t is at least ``abs(t)``.

    .. math:: p = I_{\nu / (\nu + t^2)}(\nu / 2, 1 / 2)

    Args:
        t: The statistic.
        freedom: The degrees of freedom, at least 1.
    """
    return 0.0 if math.isinf(t) else _incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


@lru_cache(maxsize=1024)
def critical_t(freedom: int, alpha: float = ALPHA) -> float:
    """Return the value that the absolute value of Student's t exceeds with probability ``alpha``."""
    low, high = 0.0, 1.0
    while two_sided_p(high, freedom) > alpha:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p(middle, freedom) > alpha else (low, middle)
    return high


def power_of(effect: float, pairs: int, alpha: float = ALPHA) -> float:
    r"""Return the power of the two-sided paired t test.

    With :math:`s` the sample deviation over the true one and :math:`\delta = d \sqrt n`, it is

    .. math:: \int f(s) [\Phi(\delta - t s) + \Phi(-\delta - t s)] ds

    Args:
        effect: The true mean of the differences over their true standard deviation.
        pairs: The number of pairs, at least 2.
        alpha: The level of the test.
    """
    freedom, points = pairs - 1, 1000
    t, shift = critical_t(freedom, alpha), abs(effect) * math.sqrt(pairs)
    width = 12 / math.sqrt(2 * freedom)
    first, last = max(0.0, 1 - width), 1 + width
    step = (last - first) / points
    scale = math.log(2) + freedom / 2 * math.log(freedom / 2) - math.lgamma(freedom / 2)
    total = 0.0
    for point in range(points):
        s = first + (point + 0.5) * step
        density = math.exp(scale + (freedom - 1) * math.log(s) - freedom * s * s / 2)
        total += density * (_normal(shift - t * s) + _normal(-shift - t * s))
    return min(1.0, total * step)


def seeds_needed(mean: float, deviation: float, most: int = MOST_SEEDS) -> int | None:
    """Return the smallest number of pairs with which a paired t test detects a difference with 80 % power at 5 %.

    The measured mean and deviation are taken as the true ones.

    Args:
        mean: The mean of the differences.
        deviation: Their standard deviation.
        most: The largest number that is tried.

    Returns:
        The number, at least 2; None if it is larger than ``most``.
    """
    if deviation == 0:
        return 2 if mean else None
    effect = mean / deviation
    if power_of(effect, most) < POWER:
        return None
    low, high = 1, most  # power grows with the number of pairs
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(effect, middle) >= POWER else (middle, high)
    return high


def _normal(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function, by Lentz's method."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    result = d
    for m in range(1, 500):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            c, d = 1 + factor / c, 1 / (1 + factor * d)
            result *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return result
