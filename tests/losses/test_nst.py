"""nst: a number by hand, every pair of channels, the released code's numbers, then properties of its own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import NST, nst
from tests.losses.case import Case

CASES = [
    Case("NST"),
]  # rows of the contract test


def reference(student: Tensor, teacher: Tensor) -> float:
    """The kernel of every two channels, one by one."""

    def kernels(a: Tensor, b: Tensor) -> float:
        pairs = [(x @ y / (x.norm() * y.norm())).item() ** 2 for x in a.flatten(1) for y in b.flatten(1)]
        return sum(pairs) / len(pairs)

    images = [kernels(s, s) + kernels(t, t) - 2 * kernels(s, t) for s, t in zip(student, teacher, strict=True)]
    return sum(images) / len(images)


def test_two_positions_by_hand() -> None:
    student = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
    teacher = torch.tensor([7.0, 0.0]).view(1, 1, 1, 2)
    assert nst(student, teacher).item() == pytest.approx(1 + 1 - 2 * 0.6**2)


# Few positions compare the products between positions, many those between channels.
@pytest.mark.parametrize("size", [2, 5])
def test_matches_reference(rng: torch.Generator, size: int) -> None:
    student = torch.randn(2, 4, size, size, generator=rng, dtype=torch.float64)
    teacher = torch.randn(2, 6, size, size, generator=rng, dtype=torch.float64)
    assert nst(student, teacher).item() == pytest.approx(reference(student, teacher), rel=1e-9)


def test_golden(agrees_with_golden: Callable[..., None]) -> None:
    agrees_with_golden("nst_case0", NST(), kind="features")


def test_knows_neither_order_nor_strength_of_the_channels(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 4, 3, 3, generator=rng)
    strength = torch.tensor([1.0, 2.0, 3.0, 0.5]).view(4, 1, 1)
    torch.testing.assert_close(nst(student.flip(1) * strength, teacher), nst(student, teacher))


def test_never_holds_the_products_of_all_pairs(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 1, 8, 20, 20, generator=rng)
    kept: list[int] = []

    def pack(saved: Tensor) -> Tensor:
        kept.append(saved.numel())
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        nst(student.requires_grad_(), teacher)
    assert max(kept) <= student.numel()  # the released code keeps C times as many


def test_a_dead_channel_gets_no_gradient(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 1, 4, 3, 3, generator=rng)
    student[:, 0] = 0
    student.requires_grad_()
    nst(student, teacher).backward()
    assert student.grad[:, 0].abs().sum() == 0
    assert 0 < student.grad.abs().max() < 1


def test_vectors_have_no_positions() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\), got student \(8, 5\).*positions.*none"):
        nst(torch.zeros(8, 5), torch.zeros(8, 5))
