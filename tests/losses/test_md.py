"""md: a number by hand, the formula pixel by pixel, then properties of its own."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import md
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("MD"),
    Case("MD", {"zero": 0.5, "first": 2.0}),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor, zero: float, first: float) -> Tensor:
    """Compare every pixel with every one of its neighbors."""
    _, _, h, w = student.shape

    def consistency(p: Tensor, n: int, y: int, x: int) -> Tensor:
        around = [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
        inside = [(i, j) for i, j in around if 0 <= i < h and 0 <= j < w and labels[n, i, j] != 255]
        return sum((p[n, :, y, x] - p[n, :, i, j]).square().sum().sqrt() for i, j in inside)

    p, q = student.softmax(1), teacher.softmax(1)
    values = [
        zero * (p[n, :, y, x] - q[n, :, y, x]).square().sum()
        + first * (consistency(p, n, y, x) - consistency(q, n, y, x)) ** 2
        for n, y, x in (labels != 255).nonzero().tolist()
    ]
    return sum(values) / len(values)


@pytest.mark.parametrize("size", [(4, 5), (1, 4), (4, 1), (1, 1)])
def test_is_the_equation_taken_literally(size: tuple[int, int]) -> None:
    student, teacher, labels = batch(3, 3, size=size)
    labels[0, 0, 0] = 0
    same_value_and_gradient(
        lambda: md(student, teacher, labels, zero=0.5, first=2.0),
        lambda: literal(student, teacher, labels, 0.5, 2.0),
        [student],
    )


def test_two_pixels_by_hand() -> None:
    student = torch.zeros(1, 2, 1, 2)  # (1/2, 1/2) twice: no change
    teacher = torch.tensor([[math.log(3), 0.0], [0.0, math.log(3)]]).view(1, 2, 1, 2)  # (3/4, 1/4), (1/4, 3/4)
    assert md(student, teacher, first=0.0).item() == pytest.approx(2 * 0.25**2)
    assert md(student, teacher, zero=0.0).item() == pytest.approx(2 * 0.5**2)
    assert md(student, teacher, zero=3.0, first=2.0).item() == pytest.approx(3 * 0.125 + 2 * 0.5)


def test_a_flat_region_has_a_finite_gradient(rng: torch.Generator) -> None:
    student = torch.zeros(1, 3, 4, 4, requires_grad=True)  # all distances are 0, where a root has no slope
    md(student, torch.randn(1, 3, 4, 4, generator=rng)).backward()
    assert student.grad.isfinite().all()
    assert student.grad.abs().sum() > 0


def test_ignores_a_constant_added_to_all_classes_of_a_pixel(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    torch.testing.assert_close(md(student + torch.randn(2, 1, 3, 4, generator=rng), teacher), md(student, teacher))


def test_mirrored_images_give_the_same(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    for dims in ((2,), (3,), (2, 3)):
        torch.testing.assert_close(md(student.flip(dims), teacher.flip(dims)), md(student, teacher))


def test_vectors_have_no_positions() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\), got student \(8, 5\).*positions.*none"):
        md(torch.zeros(8, 5), torch.zeros(8, 5))


@pytest.mark.parametrize("size", [(32, 32), (33, 47)])
def test_equal_neighbors_that_rounding_tells_apart_have_no_gradient(
    size: tuple[int, int], rng: torch.Generator
) -> None:
    """Upsampling makes equal neighbors, whose probabilities can differ in the last bit."""
    small, teacher = torch.randn(1, 19, 4, 4, generator=rng), torch.randn(1, 19, *size, generator=rng)
    gradients = []
    student = F.interpolate(small, size, mode="bilinear")
    for dtype in (torch.float32, torch.float64):
        x = student.detach().to(dtype).requires_grad_()
        md(x, teacher.to(dtype)).backward()
        gradients.append(x.grad.double())
    single, double = gradients
    assert (single - double).norm() < 1e-3 * double.norm()
