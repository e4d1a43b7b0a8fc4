"""channel_distillation: a number by hand, the released code's numbers, then properties of its own."""

from collections.abc import Callable

import pytest
import torch

from segdistill.losses import ChannelDistillation, channel_distillation
from tests.losses.case import Case

CASES = [
    Case("ChannelDistillation"),
]  # rows of the contract test


def test_two_channels_by_hand() -> None:
    student = torch.tensor([[1.0, 3.0], [0.0, 0.0]]).view(1, 2, 1, 2)  # means 2 and 0
    teacher = torch.tensor([[5.0, 5.0], [-1.0, 3.0]]).view(1, 2, 1, 2)  # means 5 and 1
    assert channel_distillation(student, teacher).item() == pytest.approx((3**2 + 1**2) / 2)


def test_golden(agrees_with_golden: Callable[..., None]) -> None:
    agrees_with_golden("channel_distillation_cd_case0", ChannelDistillation(), kind="features")


def test_the_mean_is_over_the_valid_positions_of_each_image(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 3, 1, 4, generator=rng)
    labels = torch.tensor([[[0, 255, 1, 2]], [[255, 255, 255, 1]]])
    kept = [[0, 2, 3], [3]]
    means = [[x[i, :, 0, k].mean(1) for i, k in enumerate(kept)] for x in (student, teacher)]
    expected = (torch.stack(means[0]) - torch.stack(means[1])).square().mean()
    torch.testing.assert_close(channel_distillation(student, teacher, labels), expected)


def test_does_not_know_where_positions_lie(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    torch.testing.assert_close(channel_distillation(student.flip(3), teacher), channel_distillation(student, teacher))


def test_vectors_have_no_positions() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\), got student \(8, 5\).*positions.*none"):
        channel_distillation(torch.zeros(8, 5), torch.zeros(8, 5))
