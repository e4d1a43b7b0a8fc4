"""csc: a number by hand, the formula with its matrices, then properties of its own."""

import pytest
import torch
from torch import Tensor

from segdistill.losses import csc
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("CSC"),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Compare the products of every two valid positions, image by image and channel by channel."""
    distances = []
    for n, valid in enumerate(labels != 255):
        for c in range(student.shape[1]):
            if valid.any():
                s, t = student[n, c][valid], teacher[n, c][valid]
                distances.append((torch.outer(s, s) - torch.outer(t, t)).square().mean())
    return torch.stack(distances).mean()


def test_is_the_equation_taken_literally() -> None:
    student, teacher, labels = batch()
    same_value_and_gradient(lambda: csc(student, teacher, labels), lambda: literal(student, teacher, labels), [student])


def test_two_positions_by_hand() -> None:
    student = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2)  # products 1, 2, 2, 4
    teacher = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)  # products 0, 0, 0, 1
    assert csc(student, teacher).item() == pytest.approx((1 + 4 + 4 + 9) / 4)


def test_one_position_by_hand() -> None:
    student, teacher = torch.tensor(3.0).view(1, 1, 1, 1), torch.tensor(1.0).view(1, 1, 1, 1)
    assert csc(student, teacher).item() == pytest.approx((9 - 1) ** 2)


def test_close_features_keep_their_precision(rng: torch.Generator) -> None:
    teacher = torch.randn(1, 3, 16, 16, generator=rng)
    student = teacher + 1e-3 * torch.randn(1, 3, 16, 16, generator=rng)
    torch.testing.assert_close(
        csc(student, teacher).double(), csc(student.double(), teacher.double()), rtol=1e-3, atol=0
    )


def test_never_holds_a_map_of_all_pairs(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 1, 3, 20, 20, generator=rng)
    kept: list[int] = []

    def pack(saved: Tensor) -> Tensor:
        kept.append(saved.numel())
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        csc(student.requires_grad_(), teacher)
    assert max(kept) <= student.numel()  # a map of all pairs has 400 times as many


def test_a_channel_with_its_sign_changed_is_the_same(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 4, generator=rng)
    torch.testing.assert_close(csc(-student, teacher), csc(student, teacher))


def test_vectors_have_no_positions() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\), got student \(8, 5\).*positions.*none"):
        csc(torch.zeros(8, 5), torch.zeros(8, 5))
