"""dist: a number by hand, an independent reference, the released codes' numbers, then properties."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import DIST, dist
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("DIST", {"inter": 2.0, "intra": 0.5, "temperature": 2.0}),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor, inter: float, intra: float, temperature: float) -> Tensor:
    """Correlate every row and every column of the (pixels, classes) probabilities."""

    def distance(a: Tensor, b: Tensor) -> Tensor:
        a, b = a - a.mean(), b - b.mean()
        return 1 - (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()

    p, q = (
        torch.stack([torch.softmax(z[n, :, y, x] / temperature, dim=0) for n, y, x in (labels != 255).nonzero()])
        for z in (student, teacher)
    )
    rows = torch.stack([distance(a, b) for a, b in zip(p, q, strict=True)]).mean()
    columns = torch.stack([distance(a, b) for a, b in zip(p.T, q.T, strict=True)]).mean()
    return temperature**2 * (inter * rows + intra * columns)


@pytest.mark.parametrize(("inter", "intra", "temperature"), [(1.0, 1.0, 1.0), (2.0, 0.5, 3.0), (0.0, 3.0, 1.0)])
def test_is_the_equation_taken_literally(inter: float, intra: float, temperature: float) -> None:
    student, teacher, labels = batch()
    same_value_and_gradient(
        lambda: dist(student, teacher, labels, inter=inter, intra=intra, temperature=temperature),
        lambda: literal(student, teacher, labels, inter, intra, temperature),
        [student],
        relative=1e-5,  # the loss adds 1e-8 to the product of the norms
    )


def test_two_classes_by_hand() -> None:
    student = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    assert dist(student, student).item() == pytest.approx(0, abs=1e-6)
    # The opposite prediction: every correlation is -1, every 1 - correlation 2.
    value = dist(student, student.flip(0), inter=0.5, intra=0.25, temperature=2.0)
    assert value.item() == pytest.approx(4 * (0.5 * 2 + 0.25 * 2), rel=1e-6)


@pytest.mark.parametrize("name", ["dist_seg_case0", "dist_cls_case0", "dist_gskdrepo_case1"])
def test_golden(agrees_with_golden: Callable[..., None], name: str) -> None:
    agrees_with_golden(name, DIST())


def test_intra_class_correlation_runs_over_the_whole_batch(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    rows = [x.movedim(1, -1).reshape(-1, 5) for x in (student, teacher)]
    torch.testing.assert_close(dist(student, teacher), dist(*rows))
    halves = (dist(student[:1], teacher[:1]) + dist(student[1:], teacher[1:])) / 2
    assert dist(student, teacher).item() != pytest.approx(halves.item(), rel=1e-3)


def size_of(logits: Tensor, teacher: Tensor) -> tuple[float, float]:
    """Return the value and the norm of its gradient."""
    logits = logits.detach().clone().requires_grad_()
    value = dist(logits, teacher)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.item(), gradient.norm().item()


@pytest.mark.parametrize("shift", [0.0, 1.0])  # of one class, as by a bias: constant for the columns only
def test_nearly_constant_predictions_have_a_small_gradient(rng: torch.Generator, shift: float) -> None:
    teacher, noise = torch.randn(2, 2, 19, 16, 16, generator=rng)
    bias = torch.zeros(19, 1, 1)
    bias[0] = shift
    largest = max(size_of(bias + deviation * noise, teacher)[1] for deviation in (0, 1e-8, 1e-6, 1e-4, 1e-3, 3e-3))
    assert 0 < largest <= 1.3 * size_of(bias + 0.01 * noise, teacher)[1]  # the released code's is 1e4 times as large
    for deviation in (0, 1e-6, 1e-4, 1e-2):
        value, gradient = size_of(bias + deviation * noise, bias + deviation * noise)
        assert value == pytest.approx(0, abs=2e-3)
        assert gradient <= 2e-3 * largest


def test_the_value_is_continuous_where_predictions_become_nearly_constant(rng: torch.Generator) -> None:
    teacher, noise = torch.randn(2, 1, 5, 4, 4, generator=rng, dtype=torch.float64)
    deviations = torch.linspace(0, 0.03, 301, dtype=torch.float64).tolist()
    values = torch.stack([dist(deviation * noise, teacher) for deviation in deviations])
    assert values.diff().abs().max() < 0.02 * (values.max() - values.min())
    assert values[0].item() == pytest.approx(1)  # half for the rows and half for the columns


def test_ordinary_predictions_have_the_released_value(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 19, 8, 8, generator=rng)

    def released(a: Tensor, b: Tensor) -> Tensor:
        norms = a.norm(dim=1) * b.norm(dim=1)
        return (1 - (a * b).sum(1) / (norms + 1e-8)).mean()

    p, q = (x.softmax(1).movedim(1, -1).flatten(0, 2) for x in (student, teacher))
    rows = released(p - p.mean(1, keepdim=True), q - q.mean(1, keepdim=True))
    columns = released((p - p.mean(0)).T, (q - q.mean(0)).T)
    torch.testing.assert_close(dist(student, teacher), rows + columns, rtol=1e-6, atol=0)


def test_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match="temperature must be > 0, got 0"):
        DIST(temperature=0)
