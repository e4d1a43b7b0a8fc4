"""freekd: a number by hand, the released code's numbers, the equation written out, then its first stage."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import FreeKD
from segdistill.losses.freekd import _haar, _inverse_haar
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("FreeKD", {"channels": 6, "num_classes": 5}, sees_void="a block of the transform may lie in both halves"),
]  # rows of the contract test

Golden = Callable[[str], dict[str, Tensor]]


def with_tokens(tokens: Tensor) -> FreeKD:
    """A loss with these tokens (1 + levels, tokens, channels), and features that count as class scores."""
    sets, number, channels = tokens.shape
    loss = FreeKD(channels=channels, tokens=number, levels=sets - 1, num_classes=channels).to(tokens.dtype)
    with torch.no_grad():
        loss.tokens.copy_(tokens)
    return loss


def convolved(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Low-pass and the three orientations (N, C, 3, h, w), as strided convolutions of each channel."""
    low, high = torch.tensor([1.0, 1.0]), torch.tensor([1.0, -1.0])
    kernels = torch.stack([torch.outer(a, b) / 2 for a in (low, high) for b in (low, high)])  # LL, LH, HL, HH
    padded = F.pad(maps, (0, maps.shape[3] % 2, 0, maps.shape[2] % 2))
    out = F.conv2d(padded.flatten(0, 1)[:, None], kernels.to(maps)[:, None], stride=2)
    out = out.unflatten(0, maps.shape[:2])
    return out[:, :, 0], out[:, :, [2, 1, 3]]  # rows, columns, diagonals


def literal(student: Tensor, teacher: Tensor, tokens: Tensor) -> Tensor:
    """Compare every masked coefficient, level by level; ``tokens`` (1 + levels, tokens, channels)."""
    total = 0
    for set_of_tokens in tokens[1:]:
        (student, s), (teacher, t) = convolved(student), convolved(teacher)
        for token in set_of_tokens:
            query = sum(token[c] * t[:, c].sum(dim=1) for c in range(len(token)))  # (N, h, w)
            mask = query.sigmoid()[:, None, None]
            total = total + (mask * s - mask * t).abs().mean() / len(set_of_tokens)
    return total


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (9, 6)])
def test_is_the_equation_taken_literally(rng: torch.Generator, size: tuple[int, int]) -> None:
    student, teacher, _ = batch(4, 4, size=size)
    loss = with_tokens(torch.randn(4, 5, 4, generator=rng, dtype=torch.float64))
    labels = torch.zeros(3, *size, dtype=torch.long)
    same_value_and_gradient(
        lambda: loss(student, teacher, labels), lambda: literal(student, teacher, loss.tokens.detach()), [student]
    )


def test_one_block_by_hand() -> None:
    loss = with_tokens(torch.tensor([[[0.0]], [[math.log(3.0)]]]))  # of the low-pass map; of the one level
    teacher = torch.tensor([[1.0, 1.0], [1.0, -1.0]]).view(1, 1, 2, 2)  # 1, 1 and -1: their sum 1, the mask 3/4
    student = torch.tensor([[3.0, 1.0], [1.0, -1.0]]).view(1, 1, 2, 2)  # each coefficient higher by 1
    labels = torch.zeros(1, 2, 2, dtype=torch.long)
    assert loss(student, teacher, labels).item() == pytest.approx(3 / 4)
    # An even difference of the low-pass map alone is not seen.
    assert loss(teacher + 5, teacher, labels).item() == pytest.approx(0)


def test_golden(golden: Golden, agrees_with_golden: Callable[..., None]) -> None:
    loss = with_tokens(golden("freekd_case0")["mask_token"])
    labels = torch.zeros(2, 8, 12, dtype=torch.long)
    agrees_with_golden("freekd_case0", lambda student, teacher, _: loss(student, teacher, labels), kind="features")


def test_golden_transform(golden: Golden) -> None:
    data = golden("freekd_case0")
    low = data["teacher_features"]
    for level in range(3):
        blocks = _haar(low)
        low = blocks[:, :, 0]
        torch.testing.assert_close(blocks[:, :, 1:], data[f"teacher_yh{level}"], rtol=0, atol=1e-9)
    torch.testing.assert_close(low, data["teacher_yl"], rtol=0, atol=1e-9)


def test_golden_first_stage(golden: Golden) -> None:
    data = golden("freekd_case0")
    loss = with_tokens(data["mask_token"])
    masked, overlap = loss.masked(data["teacher_features"], torch.ones(2, 8, 12, dtype=torch.bool))
    torch.testing.assert_close(masked, data["stage1_output"], rtol=0, atol=1e-9)
    torch.testing.assert_close(overlap, data["stage1_dice_loss"], rtol=1e-9, atol=0)


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (1, 3)])
def test_the_transform_can_be_undone(rng: torch.Generator, size: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, *size, generator=rng)
    blocks = _haar(maps)
    back = _inverse_haar(blocks)[..., : size[0], : size[1]]
    torch.testing.assert_close(back, maps)
    torch.testing.assert_close(blocks.norm(), maps.norm())  # no energy is lost


def test_open_masks_give_the_map_back(rng: torch.Generator) -> None:
    teacher = torch.randn(2, 4, 5, 7, generator=rng)
    loss = with_tokens(torch.zeros(4, 2, 4))  # two masks of 1/2 each
    torch.testing.assert_close(loss.masked(teacher, torch.ones(2, 5, 7, dtype=torch.bool))[0], teacher)


def test_what_is_void_is_not_seen(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 3, 4, 8, 8, generator=rng)
    labels = torch.zeros(3, 8, 8, dtype=torch.long)
    labels[:, :3, 2:] = 255
    labels[0] = 255
    loss = with_tokens(torch.randn(4, 2, 4, generator=rng))
    value, objective = loss(student, teacher, labels), loss.inner_objective(None, teacher, labels)
    void = (labels == 255)[:, None]
    other = [x.masked_fill(void, 7.0) for x in (student, teacher)]
    torch.testing.assert_close(loss(*other, labels), value)
    torch.testing.assert_close(loss.inner_objective(None, other[1], labels), objective)
    torch.testing.assert_close(loss(student[1:], teacher[1:], labels[1:]), value)


def test_only_blocks_that_hold_anything_count() -> None:
    loss = with_tokens(torch.zeros(2, 1, 1))
    student = torch.tensor([[1.0, 0.0, 1.0, 0.0]]).repeat(2, 1).view(1, 1, 2, 4)  # two blocks that are alike
    labels = torch.zeros(1, 2, 4, dtype=torch.long)
    both = loss(student, torch.zeros_like(student), labels)
    labels[..., 2:] = 255
    assert loss(student, torch.zeros_like(student), labels).item() == pytest.approx(both.item())


def test_every_level_has_tokens_of_its_own_and_so_has_the_low_pass_map() -> None:
    loss = FreeKD(channels=4, num_classes=3)
    assert [tuple(p.shape) for p in loss.inner_parameters()] == [(4, 6, 4), (3, 4, 1, 1), (3,)]


def test_the_optimiser_is_as_published() -> None:
    (group,) = FreeKD(channels=4, num_classes=3).inner_optimizer().param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.9, 1e-3)


def test_errors() -> None:
    with pytest.raises(ValueError, match="levels must be > 0, got 0"):
        FreeKD(channels=4, num_classes=3, levels=0)
    maps, labels = torch.zeros(1, 5, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"teacher must have channels=4, got \(1, 5, 2, 2\)"):
        FreeKD(channels=4, num_classes=3)(maps, maps, labels)
