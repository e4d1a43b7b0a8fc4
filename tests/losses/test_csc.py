"""csc: a number by hand, the formula with its matrices, then properties of its own."""

import pytest
import torch
from torch import Tensor

from segdistill.losses import csc
from tests.losses.case import Case

CASES = [
    Case("CSC"),
]  # rows of the contract test


def reference(student: Tensor, teacher: Tensor) -> Tensor:
    """The matrix of every channel."""
    s, t = student.flatten(2), teacher.flatten(2)
    return (torch.einsum("nci,ncj->ncij", s, s) - torch.einsum("nci,ncj->ncij", t, t)).square().mean()


def test_two_positions_by_hand() -> None:
    student = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2)  # products 1, 2, 2, 4
    teacher = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)  # products 0, 0, 0, 1
    assert csc(student, teacher).item() == pytest.approx((1 + 4 + 4 + 9) / 4)


def test_matches_reference_and_its_gradient(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 5, generator=rng, dtype=torch.float64)
    student.requires_grad_()
    value, expected = csc(student, teacher), reference(student, teacher)
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=0)
    ours, theirs = (torch.autograd.grad(x, student)[0] for x in (value, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


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
