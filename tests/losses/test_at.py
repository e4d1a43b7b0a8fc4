"""at: a number by hand, the released codes' numbers, then properties of its own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import AT, at
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("AT"),
    Case("AT", {"p": 1}),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor, p: float) -> Tensor:
    """Return the mean over images of the mean over valid positions of (q_S - q_T)^2."""

    def attention(features: Tensor) -> Tensor:
        strength = torch.stack([sum(x.abs() ** p for x in vector) / len(vector) for vector in features.T])
        return strength / strength.square().sum().sqrt()

    distances = []
    for s, t, valid in zip(student, teacher, labels != 255, strict=True):
        if valid.any():
            distances.append((attention(s[:, valid]) - attention(t[:, valid])).square().mean())
    return torch.stack(distances).mean()


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_is_the_equation_taken_literally(p: float) -> None:
    student, teacher, labels = batch(5, 7)
    same_value_and_gradient(
        lambda: at(student, teacher, labels, p=p), lambda: literal(student, teacher, labels, p), [student]
    )


def test_two_positions_by_hand() -> None:
    student = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).view(1, 2, 1, 2)  # squares (1, 0): attention (1, 0)
    teacher = torch.tensor([1.0, -2.0]).view(1, 1, 1, 2)  # squares (1, 4)
    length = (1**2 + 4**2) ** 0.5
    expected = ((1 - 1 / length) ** 2 + (4 / length) ** 2) / 2
    assert at(student, teacher).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["at_case1", "at_mean_case0"])
def test_golden(agrees_with_golden: Callable[..., None], name: str) -> None:
    agrees_with_golden(name, AT(), kind="features")


def test_power(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    squares = [x.square() for x in (student, teacher)]
    torch.testing.assert_close(at(student, teacher, p=4), at(*squares, p=2))
    torch.testing.assert_close(at(student, teacher, p=2), at(*squares, p=1))


def test_ignores_sign_scale_and_order_of_channels(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    scale = torch.tensor([-3.0, 0.5]).view(2, 1, 1, 1)  # one for each image
    torch.testing.assert_close(at(scale * student.flip(1), teacher), at(student, teacher))


def test_dead_features_get_no_gradient(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    student[0] = 0  # nothing is strong anywhere: no direction to be normalised
    student.requires_grad_()
    at(student, teacher).backward()
    assert student.grad[0].abs().sum() == 0
    assert 0 < student.grad.abs().max() < 1


def test_p_must_be_at_least_one() -> None:
    with pytest.raises(ValueError, match=r"p must be >= 1, got 0\.5"):
        AT(p=0.5)
