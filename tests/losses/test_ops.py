"""The ground the losses share."""

import pytest
import torch
from torch import Tensor

from segdistill.losses._declare import loss_function
from segdistill.losses._ops import labels_at, masked_mean, unit


@loss_function
def total(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], *, scale: float = 1.0) -> Tensor:
    """Product of the pairs, summed: each side's gradient is the other side."""
    return scale * sum((s * t).sum() for s, t in zip(student, teacher, strict=True))


@pytest.mark.parametrize("by_name", [False, True])
def test_tuples_are_cast_and_the_teacher_s_detached(by_name: bool) -> None:
    student = (torch.ones(2, requires_grad=True), torch.ones(3, dtype=torch.bfloat16, requires_grad=True))
    teacher = (torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True))
    value = total(teacher=teacher, student=student, scale=2.0) if by_name else total(student, teacher, scale=2.0)
    value.backward()
    assert value.dtype == torch.float32
    assert [x.grad.tolist() for x in student] == [[2.0] * 2, [2.0] * 3]
    assert [x.grad for x in teacher] == [None, None]


def test_the_wrapped_function_keeps_its_name_and_text() -> None:
    assert total.__name__ == "total"
    assert total.__doc__.startswith("Product of the pairs")


@pytest.mark.parametrize("size", [2, 3, 4, 7, 16])
def test_labels_take_the_pixel_at_the_floor_of_the_scaled_index(rng: torch.Generator, size: int) -> None:
    labels = torch.randint(0, 256, (1, 8, 8), generator=rng, dtype=torch.uint8)
    index = [i * 8 // size for i in range(size)]
    expected = labels[:, index][:, :, index].long()
    assert labels_at(labels, torch.zeros(1, 3, size, size)).equal(expected)


def test_masked_mean_of_nothing_is_zero_with_a_graph() -> None:
    values = torch.tensor([1.0, torch.inf], requires_grad=True)
    mean = masked_mean(values, torch.tensor([False, False]))
    mean.backward()
    assert mean == 0
    assert values.grad.tolist() == [0, 0]


def test_unit_leaves_zero_vectors_alone() -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    units = unit(vectors, dim=1)
    units.sum().backward()
    torch.testing.assert_close(units.detach(), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    # d/dx of (x + y) / |v| at (3, 4): (1 - (x + y) x / |v|^2) / |v|
    torch.testing.assert_close(vectors.grad, torch.tensor([[0.032, -0.024], [0.0, 0.0]]))
