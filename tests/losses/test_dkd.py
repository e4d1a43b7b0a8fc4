"""dkd: a number by hand, the equation taken literally, its relation to kd, its errors."""

import math

import pytest
import torch
from torch import Tensor

from segdistill.losses import DKD, dkd, kd
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("DKD"),
    Case("DKD", {"target": 0.5, "others": 8.0, "temperature": 4.0}),
    Case("DKD", {"temperature": 2.0, "standardize": True}),
]  # rows of the contract test


def scores(logits: Tensor) -> Tensor:
    """Return the z-scores of the logits of one pixel, class by class."""
    mean = sum(logits) / len(logits)
    deviation = (sum((z - mean) ** 2 for z in logits) / (len(logits) - 1)) ** 0.5
    return torch.stack([(z - mean) / deviation for z in logits])


def literal(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    target: float,
    others: float,
    temperature: float,
    standardize: bool,
) -> Tensor:
    """Return the mean, pixel by pixel and class by class."""
    values = []
    for n, i, j in (labels != 255).nonzero().tolist():
        y = labels[n, i, j].item()
        pixel = [z[n, :, i, j] for z in (student, teacher)]
        p, q = (torch.softmax((scores(z) if standardize else z) / temperature, dim=0) for z in pixel)
        value = target * (q[y] * (q[y] / p[y]).log() + (1 - q[y]) * ((1 - q[y]) / (1 - p[y])).log())
        for c in set(range(len(p))) - {y}:
            p_hat, q_hat = p[c] / (1 - p[y]), q[c] / (1 - q[y])
            value = value + others * q_hat * (q_hat / p_hat).log()
        values.append(value)
    return temperature**2 * sum(values) / len(values)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize(("target", "others", "temperature"), [(1.0, 1.0, 2.0), (0.5, 8.0, 1.0)])
def test_is_the_equation_taken_literally(target: float, others: float, temperature: float, standardize: bool) -> None:
    student, teacher, labels = batch()
    settings = {"target": target, "others": others, "temperature": temperature, "standardize": standardize}
    same_value_and_gradient(
        lambda: dkd(student, teacher, labels, **settings),
        lambda: literal(student, teacher, labels, **settings),
        [student],
    )


def test_three_classes_by_hand() -> None:
    # The teacher gives the true class 1/2 and the others 3/8 and 1/8; the student each 1/3.
    teacher = torch.tensor([[4.0, 3.0, 1.0]]).log()
    student = torch.zeros(1, 3)
    target = 0.5 * math.log(0.5 * 3) + 0.5 * math.log(0.5 * 3 / 2)
    others = 0.75 * math.log(0.75 * 2) + 0.25 * math.log(0.25 * 2)
    value = dkd(student, teacher, torch.tensor([0]), target=2.0, others=3.0)
    assert value.item() == pytest.approx(2 * target + 3 * others, rel=1e-6)


def test_kd_is_the_case_that_weighs_the_others_by_the_teachers_doubt(rng: torch.Generator) -> None:
    student = torch.randn(1, 5, generator=rng, dtype=torch.float64)
    teacher = torch.randn(1, 5, generator=rng, dtype=torch.float64)
    doubt = 1 - teacher.softmax(1)[0, 3].item()
    value = dkd(student, teacher, torch.tensor([3]), others=doubt)
    torch.testing.assert_close(value, kd(student, teacher))


def test_a_true_class_that_towers_over_the_others_stays_hidden() -> None:
    student = torch.tensor([[5000.0, 1.0, 0.0]], requires_grad=True)
    value = dkd(student, torch.tensor([[5000.0, 0.0, 1.0]]), torch.tensor([0]), others=1.0)
    expected = (math.e - 1) / (math.e + 1)  # of (p, 1 - p) against (1 - p, p) with p / (1 - p) = e
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("unknown", [5, 50, 254, -1])
def test_labels_that_are_no_class_do_not_count(unknown: int) -> None:
    student, teacher, labels = batch()
    labels[0, 0, :2] = 255
    expected = dkd(student, teacher, labels)
    labels[0, 0, :2] = unknown
    value = dkd(student, teacher, labels)
    value.backward()
    assert value == expected
    assert student.grad[0, :, 0, :2].abs().sum() == 0


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ValueError, match="temperature must be > 0, got 0"):
        DKD(temperature=0)
    with pytest.raises(ValueError, match="others must be >= 0, got -1"):
        DKD(others=-1)
