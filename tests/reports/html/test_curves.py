"""Curves from the lines of metrics.jsonl."""

import itertools

from segdistill.reports.html.curves import curve, names_in, terms_in, thinned

LINES = (
    {"step": 1, "split": "gradient_share", "task": 1.0},
    {
        "step": 1,
        "split": "train",
        "loss": 3.0,
        "kd": 1.0,
        "task": 2.0,
        "own/kd": 5.0,
        "weight/kd": 2.0,
        "learning_rate": 0.1,
    },
    {"step": 2, "split": "train", "loss": float("nan"), "kd": None, "task": 1.5, "late": 1.0},
    {"step": 2, "split": "val", "miou": 0.5},
    {"step": 3, "split": "train", "loss": float("inf"), "task": float("-inf")},
)


def test_a_curve_has_the_numbers_of_its_split() -> None:
    assert curve(LINES, "train", "task") == ((1, 2.0), (2, 1.5))
    assert curve(LINES, "train", "kd") == ((1, 1.0),)
    assert curve(LINES, "train", "loss") == ((1, 3.0),)
    assert curve(LINES, "val", "miou", factor=100) == ((2, 50.0),)
    assert curve(LINES, "val", "task") == ()


def test_terms_are_what_is_no_total_no_weight_and_no_rate() -> None:
    assert terms_in(LINES) == ("task", "kd", "late")
    assert names_in(LINES, "val") == ("miou",)


def test_long_curves_are_thinned_evenly_and_keep_their_ends() -> None:
    points = [(step, float(step)) for step in range(1, 10_001)]
    thin = thinned(points, 101)
    assert len(thin) == 101
    assert (thin[0], thin[-1]) == (points[0], points[-1])
    assert {b[0] - a[0] for a, b in itertools.pairwise(thin)} <= {99, 100, 101}
    assert thinned(points[:50], 101) == tuple(points[:50])
