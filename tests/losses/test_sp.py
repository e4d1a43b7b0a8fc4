"""sp: a number by hand, the released code's numbers, then properties of its own."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import SP, sp
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("SP", images=3),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Compare the similarities of every two images with a valid position, each row divided by its length."""
    images = [n for n in range(len(labels)) if (labels[n] != 255).any()]

    def rows(features: Tensor) -> Tensor:
        products = [
            [(features[i] * features[j])[:, (labels[i] != 255) & (labels[j] != 255)].sum() for j in images]
            for i in images
        ]
        return torch.stack([torch.stack(row) / sum(x**2 for x in row).sqrt() for row in products])

    return (rows(student) - rows(teacher)).square().sum() / len(images) ** 2


def test_is_the_equation_taken_literally() -> None:
    student, teacher, labels = batch(5, 7, images=5)
    same_value_and_gradient(lambda: sp(student, teacher, labels), lambda: literal(student, teacher, labels), [student])


def test_two_images_by_hand() -> None:
    student = torch.tensor([[2.0, 0.0], [0.0, 5.0]])  # orthogonal: rows (1, 0) and (0, 1)
    teacher = torch.tensor([[3.0], [3.0]])  # the same: rows (1, 1) / sqrt(2)
    half = math.sqrt(0.5)
    assert sp(student, teacher).item() == pytest.approx((2 * (1 - half) ** 2 + 2 * half**2) / 4)


def test_golden(agrees_with_golden: Callable[..., None]) -> None:
    agrees_with_golden("sp_case0", SP(), kind="features")


def test_a_void_sample_is_as_good_as_absent(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 5, 3, generator=rng)
    value = sp(student, teacher, torch.tensor([1, 255, 0, 255, 2]))
    torch.testing.assert_close(value, sp(student[::2], teacher[::2]))


def test_ignores_the_scale_of_the_features(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 4, 3, 2, 2, generator=rng)
    torch.testing.assert_close(sp(3 * student, teacher), sp(student, teacher))


def test_one_image_has_nothing_to_compare(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 1, 3, 2, 2, generator=rng)
    assert sp(student, teacher).item() == pytest.approx(0, abs=1e-12)


def test_three_dimensions_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\) or \(N, C\), got student \(2, 5, 4\)"):
        sp(torch.zeros(2, 5, 4), torch.zeros(2, 5, 4))
