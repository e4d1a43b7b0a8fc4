"""channel_distillation: a number by hand, the released code's numbers, then properties of its own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import ChannelDistillation, channel_distillation
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("ChannelDistillation"),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared difference of the means over valid positions, image by image and channel by channel."""
    squares = []
    for s, t, valid in zip(student, teacher, labels != 255, strict=True):
        for c in range(len(s)):
            if valid.any():
                squares.append((sum(s[c][valid]) / valid.sum() - sum(t[c][valid]) / valid.sum()) ** 2)
    return torch.stack(squares).mean()


def test_is_the_equation_taken_literally() -> None:
    student, teacher, labels = batch()
    same_value_and_gradient(
        lambda: channel_distillation(student, teacher, labels), lambda: literal(student, teacher, labels), [student]
    )


def test_two_channels_by_hand() -> None:
    student = torch.tensor([[1.0, 3.0], [0.0, 0.0]]).view(1, 2, 1, 2)  # means 2 and 0
    teacher = torch.tensor([[5.0, 5.0], [-1.0, 3.0]]).view(1, 2, 1, 2)  # means 5 and 1
    assert channel_distillation(student, teacher).item() == pytest.approx((3**2 + 1**2) / 2)


def test_golden(agrees_with_golden: Callable[..., None]) -> None:
    agrees_with_golden("channel_distillation_cd_case0", ChannelDistillation(), kind="features")


def test_does_not_know_where_positions_lie(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    torch.testing.assert_close(channel_distillation(student.flip(3), teacher), channel_distillation(student, teacher))


def test_vectors_have_no_positions() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\), got student \(8, 5\).*positions.*none"):
        channel_distillation(torch.zeros(8, 5), torch.zeros(8, 5))
