"""Paired differences: by hand, against scipy, and the share of intervals that contain the truth."""

import numpy as np
import pytest

from segdistill.statistics.paired import excludes_zero, holm, paired


def test_three_seeds_by_hand() -> None:
    found = paired([1.0, 2.0, 3.0])
    assert (found.mean, found.deviation) == (2.0, 1.0)
    margin = 4.302653 / 3**0.5
    assert found.interval == pytest.approx((2 - margin, 2 + margin), abs=1e-5)
    # With 2 degrees of freedom, P(|T| > t) = 1 - t / sqrt(2 + t^2); here t = 2 sqrt(3).
    assert found.p == pytest.approx(1 - 12**0.5 / 14**0.5)
    assert found.needed == 5  # d = 2: power 0.73 with 4 pairs, 0.89 with 5


def test_one_seed_has_no_interval() -> None:
    found = paired([1.5])
    assert found.mean == 1.5
    assert (found.deviation, found.interval, found.p, found.needed) == (None,) * 4


def test_equal_differences() -> None:
    same, none = paired([0.5, 0.5]), paired([0.0, 0.0])
    assert (same.interval, same.p, same.needed) == ((0.5, 0.5), 0.0, 2)
    assert (none.interval, none.p, none.needed) == ((0.0, 0.0), 1.0, None)


def test_as_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for count in (2, 3, 5, 12):
        drawn = np.random.default_rng(count).normal(0.7, 1.0, count)
        expected, found = stats.ttest_1samp(drawn, 0.0), paired(drawn.tolist())
        interval = expected.confidence_interval(0.95)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
        assert found.interval == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_95_percent_of_the_intervals_contain_the_truth() -> None:
    drawn = np.random.default_rng(0).normal(1.2, 0.7, (4000, 3))
    intervals = np.array([paired(row.tolist()).interval for row in drawn])
    covered = ((intervals[:, 0] <= 1.2) & (intervals[:, 1] >= 1.2)).mean()
    assert covered == pytest.approx(0.95, abs=0.011)  # three standard errors


def test_an_interval_excludes_zero() -> None:
    assert [excludes_zero(each) for each in ((0.1, 2.0), (-2.0, -0.1), (-0.1, 0.1), (0.0, 1.0))] == [
        True, True, False, False,
    ]  # fmt: skip


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04; never below one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([0.02]) == [0.02]


def test_holm_limits_false_discoveries_of_any_kind() -> None:
    drawn = np.random.default_rng(1).uniform(size=(4000, 5))  # five methods without any effect
    assert np.mean([min(holm(row.tolist())) < 0.05 for row in drawn]) == pytest.approx(0.05, abs=0.011)
