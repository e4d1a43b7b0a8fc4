"""dist: a number by hand, an independent reference, the released codes' numbers, then properties."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from segdistill.losses import DIST, dist
from tests.losses.case import Case

CASES = [
    Case("DIST", {"inter": 2.0, "intra": 0.5, "temperature": 2.0}),
]  # rows of the contract test


def reference(student: Tensor, teacher: Tensor, beta: float, gamma: float) -> float:
    """Correlations by NumPy, row by row and column by column."""

    def softmax(rows: np.ndarray) -> np.ndarray:
        return np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)

    p, q = (softmax(x.numpy()) for x in (student, teacher))
    inter = beta * np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p, q, strict=True)])
    intra = gamma * np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, q.T, strict=True)])
    return float(inter + intra)


def test_two_classes_by_hand() -> None:
    student = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    assert dist(student, student).item() == pytest.approx(0, abs=1e-6)
    # The opposite prediction: every correlation is -1, every 1 - correlation 2.
    value = dist(student, student.flip(0), inter=0.5, intra=0.25, temperature=2.0)
    assert value.item() == pytest.approx(4 * (0.5 * 2 + 0.25 * 2), rel=1e-6)


@pytest.mark.parametrize(("beta", "gamma"), [(1.0, 1.0), (2.0, 0.5), (0.0, 3.0)])
def test_matches_reference(rng: torch.Generator, beta: float, gamma: float) -> None:
    student, teacher = torch.randn(2, 30, 6, generator=rng, dtype=torch.float64)
    value = dist(student, teacher, inter=beta, intra=gamma).item()
    assert value == pytest.approx(reference(student, teacher, beta, gamma), rel=1e-6)


@pytest.mark.parametrize("name", ["dist_seg_case0", "dist_cls_case0", "dist_gskdrepo_case1"])
def test_golden(agrees_with_golden: Callable[..., None], name: str) -> None:
    agrees_with_golden(name, DIST())


def test_intra_class_correlation_runs_over_the_whole_batch(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    rows = [x.movedim(1, -1).reshape(-1, 5) for x in (student, teacher)]
    torch.testing.assert_close(dist(student, teacher), dist(*rows))
    halves = (dist(student[:1], teacher[:1]) + dist(student[1:], teacher[1:])) / 2
    assert dist(student, teacher).item() != pytest.approx(halves.item(), rel=1e-3)


def test_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match="temperature must be > 0, got 0"):
        DIST(temperature=0)
