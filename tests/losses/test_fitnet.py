"""fitnet: a number by hand, the released code's numbers, then properties of its own."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import FitNet, fitnet
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("FitNet"),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared difference of every channel at every valid position."""
    squares = [
        (student[n, c, y, x] - teacher[n, c, y, x]) ** 2
        for n, y, x in (labels != 255).nonzero().tolist()
        for c in range(student.shape[1])
    ]
    return sum(squares) / len(squares)


def test_is_the_equation_taken_literally() -> None:
    student, teacher, labels = batch()
    same_value_and_gradient(
        lambda: fitnet(student, teacher, labels), lambda: literal(student, teacher, labels), [student]
    )


def test_two_positions_by_hand() -> None:
    student = torch.tensor([[1.0, 2.0], [0.0, 4.0]]).view(1, 2, 1, 2)
    teacher = torch.tensor([[0.0, 5.0], [0.0, 2.0]]).view(1, 2, 1, 2)
    assert fitnet(student, teacher).item() == (1 + 9 + 0 + 4) / 4
    assert fitnet(student, teacher, torch.tensor([[[0, 255]]])).item() == (1 + 0) / 2


def test_golden(agrees_with_golden: Callable[..., None]) -> None:
    agrees_with_golden("fitnet_case1", FitNet(), kind="features")


def test_gradient_of_a_regressor_before_it(golden: Callable[[str], dict[str, torch.Tensor]]) -> None:
    data = golden("fitnet_case1")
    weight = data["projector_weight"].requires_grad_()
    fitnet(F.conv2d(data["student_features"], weight[..., None, None]), data["teacher_features"]).backward()
    expected = data["grad_projector_weight"]
    torch.testing.assert_close(weight.grad, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def test_is_quadratic(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    torch.testing.assert_close(fitnet(3 * student, 3 * teacher), 9 * fitnet(student, teacher))
    torch.testing.assert_close(fitnet(teacher + 2, teacher), torch.tensor(4.0))


def test_every_valid_position_counts_the_same(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 2, 2, generator=rng)
    labels = torch.tensor([[[0, 255], [255, 255]], [[0, 1], [1, 0]]])  # one position, and four
    every = (student - teacher).square().mean(dim=1)
    expected = torch.stack([every[0, 0, 0], *every[1].flatten()]).mean()
    torch.testing.assert_close(fitnet(student, teacher, labels), expected)


def test_vectors_have_no_positions() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\), got student \(8, 5\)"):
        fitnet(torch.zeros(8, 5), torch.zeros(8, 5))
