"""Weights over a run: values by hand."""

import pickle

import pytest

from segdistill import schedules


def test_linear_is_alpha_of_aicsd_eq_7() -> None:
    alpha = schedules.linear(0.0, 1.0)
    assert [alpha(p) for p in (0.0, 0.25, 1.0)] == [0.0, 0.25, 1.0]


def test_linear_stays_at_its_end_after_until() -> None:
    weight = schedules.linear(2.0, 4.0, until=0.5)
    assert [weight(p) for p in (0.0, 0.25, 0.5, 0.9)] == [2.0, 3.0, 4.0, 4.0]


def test_exponential_grows_to_one_minus_beta_to_the_119() -> None:
    alpha = schedules.exponential(0.0, 1.0)
    assert alpha(0.0) == 0.0
    assert alpha(1.0) == pytest.approx(1 - 0.985**119)  # 0.834
    assert alpha(1 / 119) == pytest.approx(0.015)  # the second of 120 epochs


def test_exponential_from_one_to_zero_is_eq_8_as_printed() -> None:
    assert schedules.exponential(1.0, 0.0)(1.0) == pytest.approx(0.985**119)


def test_steps_multiply_at_each_point() -> None:
    weight = schedules.steps(1.0, 0.9, at=[0.3, 0.6])
    assert [weight(p) for p in (0.0, 0.3, 0.59, 1.0)] == pytest.approx([1.0, 0.9, 0.9, 0.81])


def test_constant_and_pickling() -> None:
    copy = pickle.loads(pickle.dumps(schedules.linear(0.0, 2.0)))
    assert schedules.constant(3.0)(0.7) == 3.0
    assert copy(0.5) == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.linear(0, 1, until=0), "until must be a fraction"),
        (lambda: schedules.exponential(0, 1, beta=1.0), "0 < beta < 1"),
        (lambda: schedules.steps(1, 0.5, at=[1.5]), "at must hold fractions"),
    ],
)
def test_values_outside_the_run_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
