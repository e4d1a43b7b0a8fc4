"""Pixels, their features, t-SNE and the accuracy of neighbors."""

import pytest
import torch

from segdistill.errors import UserError
from segdistill.explain import feature_map
from segdistill.explain.feature_map import embedded, neighbor_accuracy, pixel_features, sampled_pixels


def test_pixels_of_every_class_without_repetition() -> None:
    labels = torch.full((2, 6, 6), 255)
    labels[0, :2], labels[1, 3, 4], labels[1, 5, :] = 1, 4, 2
    pixels = sampled_pixels(labels, 5, generator=torch.Generator().manual_seed(0))
    known = labels[tuple(pixels.T)]
    assert sorted(known.tolist()) == [1] * 5 + [2] * 5 + [4]
    assert sorted(known.tolist()) != known.tolist()
    assert len({tuple(pixel) for pixel in pixels.tolist()}) == 11
    assert sampled_pixels(torch.full((1, 2, 2), 255), 3).shape == (0, 3)


def test_features_are_of_the_cell_with_the_pixel() -> None:
    feature = torch.arange(12.0).view(2, 1, 2, 3)
    pixels = torch.tensor([[0, 0, 0], [0, 3, 8], [1, 2, 3], [1, 1, 2]])
    assert pixel_features(feature, pixels, (4, 9))[:, 0].tolist() == [0.0, 5.0, 10.0, 6.0]


def test_the_accuracy_by_hand() -> None:
    vectors = torch.tensor([[0.0], [1.0], [2.1], [3.3], [10.0]])
    labels = torch.tensor([0, 0, 1, 1, 0])
    # Nearest of each: 1, 0, 1, 2, 3, so of classes 0, 0, 0, 1, 1: right, right, wrong, right, wrong.
    assert neighbor_accuracy(vectors, labels, neighbors=1) == pytest.approx(3 / 5)
    # Three nearest: (0, 1, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 1, 0): all but none right.
    assert neighbor_accuracy(vectors, labels, neighbors=3) == 0
    # Two nearest: (0, 1), (0, 1), (0, 1), (1, 0), (1, 1): the nearest decides between equal votes.
    assert neighbor_accuracy(vectors, labels, neighbors=2) == pytest.approx(3 / 5)
    assert neighbor_accuracy(vectors[:1], labels[:1]) == 0


def test_groups_stay_together_and_the_seed_decides() -> None:
    pytest.importorskip("sklearn")
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat_interleave(12)
    vectors = 20 * torch.eye(3, 8)[labels] + torch.randn(36, 8, generator=generator)
    points = embedded(vectors)
    assert points.shape == (36, 2)
    assert neighbor_accuracy(points, labels) == 1
    assert torch.equal(points, embedded(vectors))


def test_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_map, "find_spec", lambda _: object())
    with pytest.raises(UserError, match="4 pixels or more, got 3"):
        embedded(torch.zeros(3, 2))
    monkeypatch.setattr(feature_map, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"segdistill\[explain\]"):
        embedded(torch.zeros(9, 2))
