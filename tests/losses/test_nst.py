"""nst: a number by hand, every pair of channels, the released code's numbers, then properties of its own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import NST, nst
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("NST"),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Compute the kernel of every two channels, one by one."""

    def kernels(a: Tensor, b: Tensor) -> Tensor:
        pairs = [((x @ y) / (x.norm() * y.norm())) ** 2 for x in a for y in b]
        return sum(pairs) / len(pairs)

    images = [
        kernels(s[:, valid], s[:, valid]) + kernels(t[:, valid], t[:, valid]) - 2 * kernels(s[:, valid], t[:, valid])
        for s, t, valid in zip(student, teacher, labels != 255, strict=True)
        if valid.any()
    ]
    return sum(images) / len(images)


# Few positions compare the products between positions, many those between channels.
@pytest.mark.parametrize("size", [(2, 2), (5, 5)])
def test_is_the_equation_taken_literally(size: tuple[int, int]) -> None:
    student, teacher, labels = batch(4, 6, size=size)
    same_value_and_gradient(lambda: nst(student, teacher, labels), lambda: literal(student, teacher, labels), [student])


def test_two_positions_by_hand() -> None:
    student = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
    teacher = torch.tensor([7.0, 0.0]).view(1, 1, 1, 2)
    assert nst(student, teacher).item() == pytest.approx(1 + 1 - 2 * 0.6**2)


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
