"""ickd: a number by hand, the released codes' numbers, then properties of its own."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import ICKD, ickd
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("ICKD"),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Compare the correlations of every two channels, each row divided by its length, image by image."""

    def rows(features: Tensor) -> Tensor:
        products = [[(a * b).sum() for b in features] for a in features]
        return torch.stack([torch.stack(row) / sum(x**2 for x in row).sqrt() for row in products])

    distances = []
    for s, t, valid in zip(student, teacher, labels != 255, strict=True):
        if valid.any():
            distances.append((rows(s[:, valid]) - rows(t[:, valid])).square().sum() / len(s))
    return torch.stack(distances).mean()


def test_is_the_equation_taken_literally() -> None:
    student, teacher, labels = batch()
    same_value_and_gradient(
        lambda: ickd(student, teacher, labels), lambda: literal(student, teacher, labels), [student]
    )


def test_two_channels_by_hand() -> None:
    student = torch.tensor([[2.0, 0.0], [0.0, 5.0]]).view(1, 2, 1, 2)  # orthogonal: rows (1, 0) and (0, 1)
    teacher = torch.tensor([[3.0, 0.0], [3.0, 0.0]]).view(1, 2, 1, 2)  # the same: rows (1, 1) / sqrt(2)
    half = math.sqrt(0.5)
    assert ickd(student, teacher).item() == pytest.approx((2 * (1 - half) ** 2 + 2 * half**2) / 2)


@pytest.mark.parametrize("name", ["aicsd_ickd_logits_case0", "aicsd_ickd_logits_c21_case0"])
def test_golden(agrees_with_golden: Callable[..., None], name: str) -> None:
    agrees_with_golden(name, ICKD())


def test_golden_behind_the_embedding(
    agrees_with_golden: Callable[..., None], golden: Callable[[str], dict[str, Tensor]]
) -> None:
    data = golden("ickd_cifar_case0")

    def embedded(student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        wide = F.conv2d(student, data["w_embed_s_conv2d__weight"])
        scale, shift = data["w_embed_s_l2norm__weight"], data["w_embed_s_l2norm__bias"]
        return ickd(F.batch_norm(wide, None, None, scale, shift, training=True), teacher, labels)

    agrees_with_golden("ickd_cifar_case0", embedded, kind="features")


def test_imagenet_code_divides_by_the_images_again(agrees_with_golden: Callable[..., None]) -> None:
    agrees_with_golden("ickd_imagenet_noembed_case0", ickd, kind="features", times=1 / 2)


def test_does_not_know_where_positions_lie(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    shuffled = student.flatten(2)[:, :, torch.randperm(12, generator=rng)].view(2, 5, 3, 4)
    torch.testing.assert_close(ickd(shuffled, teacher), ickd(student, teacher))


def test_ignores_the_scale_of_the_features(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    torch.testing.assert_close(ickd(3 * student, teacher), ickd(student, teacher))


def test_a_dead_channel_gets_no_gradient_out_of_scale(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 1, 4, 3, 3, generator=rng)
    student[:, 0] = 0
    student.requires_grad_()
    ickd(student, teacher).backward()
    assert 0 < student.grad.abs().max() < 10


def test_vectors_have_no_positions() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\), got student \(8, 5\).*positions.*none"):
        ickd(torch.zeros(8, 5), torch.zeros(8, 5))
