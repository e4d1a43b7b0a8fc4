"""Student's t: tables by hand, scipy as an independent reference, and simulated power."""

import math

import numpy as np
import pytest

from segdistill.statistics.student_t import critical_t, power_of, seeds_needed, two_sided_p


@pytest.mark.parametrize(("freedom", "printed"), [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (120, 1.980)])
def test_critical_values_of_printed_tables(freedom: int, printed: float) -> None:
    assert critical_t(freedom) == pytest.approx(printed, abs=5e-4)
    assert two_sided_p(critical_t(freedom), freedom) == pytest.approx(0.05, abs=1e-12)


def test_one_degree_of_freedom_is_cauchy() -> None:
    for t in (0.0, 0.3, 1.0, 7.0, -7.0, 1e6):
        assert two_sided_p(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(abs(t)), rel=1e-6, abs=1e-12)
    assert two_sided_p(math.inf, 3) == 0


def test_as_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 2, 3, 7, 30, 99):
        for t in (0.0, 0.01, 0.5, 1.9, 4.0, 30.0, 1e4):
            assert two_sided_p(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-9, abs=1e-300)
        for alpha in (0.05, 0.01, 0.5):
            assert critical_t(freedom, alpha) == pytest.approx(stats.t.ppf(1 - alpha / 2, freedom), rel=1e-10)


def test_power_as_scipys_noncentral_t() -> None:
    stats = pytest.importorskip("scipy.stats")
    for pairs in (2, 3, 5, 20, 100):
        limit = stats.t.ppf(0.975, pairs - 1)
        for effect in (0.0, 0.1, 0.8, 3.0):
            other = stats.nct if effect else stats.t
            shift = (effect * math.sqrt(pairs),) if effect else ()
            below = other.cdf(-limit, pairs - 1, *shift)  # scipy has no value for a far tail
            expected = other.sf(limit, pairs - 1, *shift) + (0.0 if math.isnan(below) else below)
            assert power_of(effect, pairs) == pytest.approx(expected, abs=5e-5)


def test_power_by_simulation() -> None:
    drawn = np.random.default_rng(0).normal(1.5, 1.0, (20_000, 4))
    t = drawn.mean(1) / drawn.std(1, ddof=1) * 2
    assert power_of(1.5, 4) == pytest.approx(float((abs(t) > critical_t(3)).mean()), abs=0.01)


def test_seeds_needed() -> None:
    # Printed in tables of the paired t test at 80 % power and 5 %: d = 0.5 needs 34 pairs, 0.8 needs 15, 1 needs 10.
    assert [seeds_needed(effect, 1.0) for effect in (0.5, 0.8, 1.0)] == [34, 15, 10]
    assert seeds_needed(-1.6, 2.0) == 15
    assert seeds_needed(0.2, 1.0) is None  # 199
    assert seeds_needed(0.2, 1.0, most=300) == 199
    assert seeds_needed(1.0, 0.0) == 2
    assert seeds_needed(0.0, 0.0) is None
    assert seeds_needed(0.0, 1.0) is None
    for effect in (0.4, 0.9, 2.0, 8.0):
        needed = seeds_needed(effect, 1.0)
        assert needed is not None
        assert power_of(effect, needed) >= 0.8
        assert needed == 2 or power_of(effect, needed - 1) < 0.8
