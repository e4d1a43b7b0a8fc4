"""maskd: a number by hand, the released code's numbers, the masked maps written out, then its first stage."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import MasKD
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("MasKD", {"channels": 6, "num_classes": 5}),
]  # rows of the contract test

Golden = Callable[[str], dict[str, Tensor]]


def with_tokens(tokens: Tensor, num_classes: int | None = None) -> MasKD:
    """A loss with these tokens (tokens, channels)."""
    loss = MasKD(channels=tokens.shape[1], tokens=len(tokens), num_classes=num_classes).to(tokens.dtype)
    with torch.no_grad():
        loss.tokens.copy_(tokens[None])
    return loss


def literal(student: Tensor, teacher: Tensor, labels: Tensor, tokens: Tensor) -> Tensor:
    """Compare image by image, mask by mask and channel by channel."""
    every = []
    for s, t, valid in zip(student, teacher, labels != 255, strict=True):
        for token in tokens:
            mask = sum(token[c] * t[c] for c in range(len(t))).sigmoid()[valid]
            for c in range(len(t)):
                if valid.any():
                    every.append((mask * s[c][valid] - mask * t[c][valid]).square().sum() / (mask.sum() + 1e-5) / 2)
    return sum(every) / len(every)


def test_is_the_equation_taken_literally(rng: torch.Generator) -> None:
    student, teacher, labels = batch(4, 4)
    loss = with_tokens(torch.randn(6, 4, generator=rng, dtype=torch.float64))
    same_value_and_gradient(
        lambda: loss(student, teacher, labels),
        lambda: literal(student, teacher, labels, loss.tokens[0].detach()),
        [student],
    )


def test_two_positions_by_hand() -> None:
    loss = with_tokens(torch.tensor([[math.log(3.0)]]))
    teacher = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)  # masks 3/4 and 1/2
    student = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
    labels = torch.zeros(1, 1, 2, dtype=torch.long)
    expected = (9 / 16 * 4 + 1 / 4 * 16) / (3 / 4 + 1 / 2) / 2
    assert loss(student, teacher, labels).item() == pytest.approx(expected, rel=1e-4)
    labels[..., 1] = 255
    assert loss(student, teacher, labels).item() == pytest.approx(9 / 16 * 4 / (3 / 4) / 2, rel=1e-4)


def test_golden(golden: Golden, agrees_with_golden: Callable[..., None]) -> None:
    loss = with_tokens(golden("maskd_seg_case0")["mask_token"])
    labels = torch.zeros(2, 8, 12, dtype=torch.long)
    agrees_with_golden("maskd_seg_case0", lambda student, teacher, _: loss(student, teacher, labels))


def test_golden_first_stage(golden: Golden) -> None:
    data = golden("maskd_seg_case0")
    loss = with_tokens(data["mask_token"])
    scores, overlap = loss.masked(data["teacher_logits"], torch.ones(2, 8, 12, dtype=torch.bool))
    torch.testing.assert_close(scores, data["stage1_masked_logits"], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(overlap, data["stage1_dice_loss"], rtol=1e-9, atol=0)
    overlap.backward()
    expected = data["grad_mask_token_dice"]
    torch.testing.assert_close(loss.tokens.grad[0], expected, rtol=0, atol=1e-9 * expected.abs().max().item())


def test_the_objective_is_cross_entropy_and_overlap(rng: torch.Generator) -> None:
    _, teacher = torch.randn(2, 2, 4, 3, 3, generator=rng)
    labels = torch.randint(0, 4, (2, 3, 3), generator=rng)
    labels[:, 0] = 255
    loss = with_tokens(torch.randn(2, 4, generator=rng))
    masks = torch.einsum("tc,nchw->nthw", loss.tokens[0], teacher).sigmoid()
    a, b = (masks[:, :, 1:].flatten(2) * 1.0).unbind(dim=1)
    dice = 2 * (a * b).sum(dim=1) / ((a * a).sum(dim=1) + (b * b).sum(dim=1))
    expected = F.cross_entropy(masks.sum(dim=1, keepdim=True) * teacher, labels, ignore_index=255) + dice.mean()
    torch.testing.assert_close(loss.inner_objective(None, teacher, labels), expected)
    larger = labels.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    torch.testing.assert_close(loss.inner_objective(None, teacher, larger), expected)


@pytest.mark.parametrize(("num_classes", "probes"), [(None, False), (4, False), (3, True)])
def test_features_are_classified_by_a_convolution_of_its_own(num_classes: int | None, probes: bool) -> None:
    loss = MasKD(channels=4, num_classes=num_classes)
    assert [tuple(p.shape) for p in loss.inner_parameters()] == [(1, 8, 4), *([(3, 4, 1, 1), (3,)] if probes else [])]


def test_features_of_any_scale_are_learned_from_alike(rng: torch.Generator) -> None:
    teacher = torch.rand(2, 4, 3, 3, generator=rng)
    labels = torch.randint(0, 3, (2, 3, 3), generator=rng)
    loss = with_tokens(torch.zeros(2, 4), num_classes=3)
    objectives = [loss.inner_objective(None, scale * teacher, labels) for scale in (1, 100)]
    torch.testing.assert_close(*objectives, rtol=1e-3, atol=0)


def test_one_mask_has_none_to_overlap_with(rng: torch.Generator) -> None:
    teacher = torch.randn(2, 4, 3, 3, generator=rng)
    loss = with_tokens(torch.randn(1, 4, generator=rng))
    assert loss.masked(teacher, torch.ones(2, 3, 3, dtype=torch.bool))[1] == 0


def test_equal_masks_overlap_wholly(rng: torch.Generator) -> None:
    teacher = torch.randn(2, 4, 3, 3, generator=rng)
    loss = with_tokens(torch.randn(1, 4, generator=rng).repeat(3, 1))
    assert loss.masked(teacher, torch.ones(2, 3, 3, dtype=torch.bool))[1].item() == pytest.approx(1)


def test_the_optimiser_is_as_published() -> None:
    (group,) = MasKD(channels=4).inner_optimizer().param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.9, 1e-3)


def test_errors() -> None:
    with pytest.raises(ValueError, match="tokens must be > 0, got 0"):
        MasKD(channels=4, tokens=0)
    maps, labels = torch.zeros(1, 5, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long)
    for call in (lambda: MasKD(channels=4)(maps, maps, labels), lambda: MasKD(channels=4).inner_objective(None, maps)):
        with pytest.raises(ValueError, match=r"teacher must have channels=4, got \(1, 5, 2, 2\)"):
            call()
    with pytest.raises(ValueError, match="needs labels"):
        MasKD(channels=5).inner_objective(None, maps)
