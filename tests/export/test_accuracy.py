"""Accuracy control with a scorer that knows which layers are sensitive."""

import pytest

from segdistill.export.accuracy import LIMIT, accurate

LAYERS = ("e", "a", "d", "b", "c", "f")
"""From the most sensitive to the least."""


def control(lost: dict[str, float], wanted: float = 0.6):
    """Run the control for layers that each lose some score in int8; return its result and what it did."""
    said: list[tuple[str, float]] = []
    asked: list[bool] = []

    def score(in_float: tuple[str, ...]) -> float:
        return wanted - sum(loss for layer, loss in lost.items() if layer not in in_float)

    def ranked() -> tuple[str, ...]:
        asked.append(True)
        return LAYERS

    return accurate(tuple, score, ranked, wanted, lambda layer, loss: said.append((layer, loss))), said, asked


def test_a_model_that_loses_at_most_a_point_stays_int8() -> None:
    accepted, said, asked = control({"e": 0.004, "a": 0.0059})
    assert accepted.in_float == ()
    assert accepted.score == pytest.approx(0.5901)
    assert (said, asked) == ([], [])  # ranking takes long, so it is done only if needed
    assert LIMIT == 0.01


def test_a_gain_is_no_loss() -> None:
    assert control({"e": -0.2})[0].in_float == ()


def test_layers_go_back_one_after_the_other_until_it_holds() -> None:
    accepted, said, asked = control({"e": 0.1, "a": 0.05, "d": 0.008, "f": 0.001})
    assert accepted.in_float == accepted.model == ("e", "a")
    assert accepted.score == pytest.approx(0.591)
    assert said == [("e", pytest.approx(0.159)), ("a", pytest.approx(0.059))]
    assert asked == [True]


def test_no_more_than_half_of_the_layers() -> None:
    accepted, said, _ = control({"f": 0.2})
    assert accepted is None
    assert [layer for layer, _ in said] == ["e", "a", "d"]
