"""AICSD's distributions and similarities, by hand and against the loss."""

import math

import torch

from segdistill.explain.class_similarity import class_distributions, class_similarities
from segdistill.losses import icsd


def test_by_hand() -> None:
    logits = torch.tensor([[[[0.8, 0.2]], [[0.5, 0.5]]]]).log() + torch.tensor([3.0, -1.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(
        class_distributions(logits), torch.tensor([[[[0.8, 0.2]], [[0.5, 0.5]]]]), atol=1e-6, rtol=0
    )
    there = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    back = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    expected = torch.tensor([[[0, there], [back, 0]]])
    torch.testing.assert_close(class_similarities(logits), expected, atol=1e-6, rtol=0)


def test_void_has_no_share() -> None:
    logits = torch.randn(1, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(1, 2, 4, dtype=torch.long)
    labels[:, :, 2:] = 255
    shares = class_distributions(logits, labels)
    assert torch.equal(shares[..., 2:], torch.zeros(1, 3, 2, 2))
    torch.testing.assert_close(shares[..., :2], class_distributions(logits[..., :2]))
    torch.testing.assert_close(class_similarities(logits, labels), class_similarities(logits[..., :2]))


def test_all_void_is_zero() -> None:
    assert class_distributions(torch.ones(1, 2, 2, 2), torch.full((1, 2, 2), 255)).sum() == 0


def test_the_difference_of_the_matrices_is_the_loss() -> None:
    student, teacher = torch.randn(2, 1, 4, 5, 6, generator=torch.Generator().manual_seed(1))
    difference = class_similarities(student) - class_similarities(teacher)
    torch.testing.assert_close(difference.square().mean(), icsd(student, teacher))
