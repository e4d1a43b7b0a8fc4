"""fitnet: a number by hand, the released code's numbers, then properties of its own."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import FitNet, fitnet
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("FitNet"),
    Case("FitNet", {"normalize": "position"}),
    Case("FitNet", {"normalize": "channel"}),
]  # rows of the contract test


def normalized(maps: Tensor, labels: Tensor, normalize: str) -> dict[tuple[int, ...], Tensor]:
    """Return the features of the valid positions by image, channel, row and column."""
    valid = [tuple(position) for position in (labels != 255).nonzero().tolist()]
    channels = range(maps.shape[1])
    result = {(n, c, y, x): maps[n, c, y, x] for n, y, x in valid for c in channels}
    if normalize == "position":
        for n, y, x in valid:
            length = sum(maps[n, c, y, x] ** 2 for c in channels) ** 0.5
            result |= {(n, c, y, x): maps[n, c, y, x] / length * len(channels) ** 0.5 for c in channels}
    if normalize == "channel":
        for n in {position[0] for position in valid}:
            for c in channels:
                keys = [(n, c, y, x) for image, y, x in valid if image == n]
                mean = sum(maps[key] for key in keys) / len(keys)
                variance = sum((maps[key] - mean) ** 2 for key in keys) / len(keys)
                result |= {key: (maps[key] - mean) / variance**0.5 for key in keys}
    return result


def literal(student: Tensor, teacher: Tensor, labels: Tensor, normalize: str) -> Tensor:
    """Return the mean squared difference of every channel at every valid position."""
    s, t = (normalized(x, labels, normalize) for x in (student, teacher))
    squares = [(s[key] - t[key]) ** 2 for key in s]
    return sum(squares) / len(squares)


@pytest.mark.parametrize("normalize", ["none", "position", "channel"])
def test_is_the_equation_taken_literally(normalize: str) -> None:
    student, teacher, labels = batch()
    same_value_and_gradient(
        lambda: fitnet(student, teacher, labels, normalize=normalize),
        lambda: literal(student, teacher, labels, normalize),
        [student],
    )


def test_two_positions_by_hand() -> None:
    student = torch.tensor([[1.0, 2.0], [0.0, 4.0]]).view(1, 2, 1, 2)
    teacher = torch.tensor([[0.0, 5.0], [0.0, 2.0]]).view(1, 2, 1, 2)
    assert fitnet(student, teacher).item() == (1 + 9 + 0 + 4) / 4
    assert fitnet(student, teacher, torch.tensor([[[0, 255]]])).item() == (1 + 0) / 2


def test_unit_positions_by_hand() -> None:
    student = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    teacher = torch.tensor([0.0, 10.0]).view(1, 2, 1, 1)
    assert fitnet(student, teacher, normalize="position").item() == pytest.approx(2 - 2 * 0.8)


def test_standardized_channels_by_hand() -> None:
    student = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
    teacher = torch.tensor([5.0, 5.0, 8.0]).view(1, 1, 1, 3)
    correlation = 3 / (2 * 6) ** 0.5  # of (-1, 0, 1) and (-1, -1, 2)
    assert fitnet(student, teacher, normalize="channel").item() == pytest.approx(2 - 2 * correlation)


def test_normalized_features_have_no_scale(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    at_positions, of_channels = torch.rand(2, 1, 3, 4, generator=rng) + 0.5, torch.rand(2, 5, 1, 1, generator=rng) + 0.5
    for normalize, scale, shift in (("position", at_positions, 0.0), ("channel", of_channels, of_channels)):
        expected = fitnet(student, teacher, normalize=normalize)
        torch.testing.assert_close(fitnet(student * scale + shift, teacher, normalize=normalize), expected)
        torch.testing.assert_close(fitnet(student, teacher * scale + shift, normalize=normalize), expected)


def test_what_cannot_be_normalized_is_zero_and_receives_no_gradient(rng: torch.Generator) -> None:
    teacher = torch.randn(1, 3, 1, 19, generator=rng)
    # A position of zeros; a channel with one value, whose mean, rounded, is another number.
    for normalize, place, value in (("position", (0, slice(None), 0, 0), 0.0), ("channel", (0, 1), 0.3)):
        student = torch.randn(1, 3, 1, 19, generator=rng)
        student[place] = value
        student.requires_grad_()
        fitnet(student, teacher, normalize=normalize).backward()
        assert student.grad.isfinite().all()
        assert (student.grad[place] == 0).all()
        assert student.grad.abs().sum() > 0


def test_golden(agrees_with_golden: Callable[..., None]) -> None:
    agrees_with_golden("fitnet_case1", FitNet(), kind="features")


def test_gradient_of_a_regressor_before_it(golden: Callable[[str], dict[str, torch.Tensor]]) -> None:
    data = golden("fitnet_case1")
    weight = data["projector_weight"].requires_grad_()
    fitnet(F.conv2d(data["student_features"], weight[..., None, None]), data["teacher_features"]).backward()
    expected = data["grad_projector_weight"]
    torch.testing.assert_close(weight.grad, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def test_is_quadratic(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    torch.testing.assert_close(fitnet(3 * student, 3 * teacher), 9 * fitnet(student, teacher))
    torch.testing.assert_close(fitnet(teacher + 2, teacher), torch.tensor(4.0))


def test_every_valid_position_counts_the_same(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 2, 2, generator=rng)
    labels = torch.tensor([[[0, 255], [255, 255]], [[0, 1], [1, 0]]])  # one position, and four
    every = (student - teacher).square().mean(dim=1)
    expected = torch.stack([every[0, 0, 0], *every[1].flatten()]).mean()
    torch.testing.assert_close(fitnet(student, teacher, labels), expected)


def test_vectors_have_no_positions() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\), got student \(8, 5\)"):
        fitnet(torch.zeros(8, 5), torch.zeros(8, 5))
