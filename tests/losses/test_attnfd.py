"""attnfd: numbers by hand, the equation taken literally, what the gates do, its errors."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from segdistill.losses import AttnFD
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case(
        "AttnFD",
        {"channels": 6, "reduction": 2},
        nonzero_at_equality="the student's gates learn, and the teacher's have no parameters",
    ),
]  # rows of the contract test


def small(**kwargs: Any) -> AttnFD:
    torch.manual_seed(0)
    return AttnFD(**{"channels": 5, "reduction": 2} | kwargs)


def open_gates(channels: int) -> AttnFD:
    """A loss that multiplies all of the student's features by the same number."""
    loss = AttnFD(channels=channels)
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.zero_()
    return loss


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())


def direction(values: dict[tuple[int, int, int], Tensor]) -> dict[tuple[int, int, int], Tensor]:
    length = sum(value**2 for value in values.values()) ** 0.5
    return {key: value / length for key, value in values.items()}


def literal_refined(
    image: Tensor, valid: list[tuple[int, int]], state: dict[str, Tensor] | None
) -> dict[tuple[int, int, int], Tensor]:
    """Return the refined features of one image by channel, row and column. Without a state, the teacher's."""
    channels = range(len(image))
    average = torch.stack([sum(image[c, y, x] for y, x in valid) / len(valid) for c in channels])
    largest = torch.stack([max(image[c, y, x] for y, x in valid) for c in channels])
    if state is None:
        before = average + largest
    else:
        first, second = state["channel.0.weight"], state["channel.2.weight"]
        before = sum(second @ (first @ pooled).clamp(min=0) for pooled in (average, largest))
    gated = {(c, y, x): sigmoid(before[c]) * image[c, y, x] for c in channels for y, x in valid}
    pooled = {
        (y, x): torch.stack([sum(gated[c, y, x] for c in channels) / len(image), max(gated[c, y, x] for c in channels)])
        for y, x in valid
    }
    refined = {}
    for y, x in valid:
        if state is None:
            gate = sigmoid(pooled[y, x][0] + pooled[y, x][1])
        else:
            kernel = state["spatial.weight"][0]
            near = [(row, column) for row, column in valid if abs(row - y) <= 3 and abs(column - x) <= 3]
            gate = sigmoid(sum(kernel[:, r - y + 3, c - x + 3] @ pooled[r, c] for r, c in near))
        for c in channels:
            refined[c, y, x] = gate * gated[c, y, x]
    return refined


def literal(student: Tensor, teacher: Tensor, labels: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Return the mean squared distance of the unit vectors, image by image."""
    distances = []
    for n in range(len(student)):
        valid = [tuple(position) for position in (labels[n] != 255).nonzero().tolist()]
        if valid:
            s = direction(literal_refined(student[n], valid, state))
            t = direction(literal_refined(teacher[n], valid, None))
            distances.append(sum((s[key] - t[key]) ** 2 for key in s))
    return sum(distances) / len(distances)


@pytest.mark.parametrize("size", [(3, 4), (5, 9)])
def test_is_the_equation_taken_literally(size: tuple[int, int]) -> None:
    student, teacher, labels = batch(size=size)
    loss = small().double()
    same_value_and_gradient(
        lambda: loss(student, teacher, labels),
        lambda: literal(student, teacher, labels, dict(loss.named_parameters())),
        [student, *loss.parameters()],
    )


def test_gates_of_the_channels_by_hand() -> None:
    # One position: average and maximum of a channel are its feature. Its gates are 3/4 and 1/4.
    teacher = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1) * math.log(3) / 2
    student = torch.tensor([5.0, 0.0]).view(1, 2, 1, 1)
    # (1, 0) and (3, -1) / sqrt(10)
    assert open_gates(2)(student, teacher).item() == pytest.approx(2 - 6 / math.sqrt(10), rel=1e-5)


def test_gates_of_the_positions_by_hand() -> None:
    # One channel: average -a and maximum 0 give it the gate p. Average and maximum of a position are its value.
    a = 2.0
    teacher = torch.tensor([0.0, -2 * a]).view(1, 1, 1, 2)
    student = torch.tensor([3.0, -4.0]).view(1, 1, 1, 2)
    # (3, -4) / 5 and (0, -1): a gate never changes a zero.
    assert open_gates(1)(student, teacher).item() == pytest.approx(0.6**2 + 0.2**2, rel=1e-5)
    teacher = torch.tensor([1.0, -1.0]).view(1, 1, 1, 2)  # average 0, maximum 1
    p = 1 / (1 + math.exp(-1))
    q = 1 / (1 + math.exp(-2 * p))  # of the first position; 1 - q of the second
    cosine = (3 * q + 4 * (1 - q)) / (5 * math.hypot(q, 1 - q))
    assert open_gates(1)(student, teacher).item() == pytest.approx(2 - 2 * cosine, rel=1e-5)


def test_the_scale_of_the_student_s_refined_features_does_not_matter(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    loss = open_gates(5)
    torch.testing.assert_close(loss(7 * student, teacher), loss(student, teacher))


def test_opposite_features_have_the_largest_distance() -> None:
    x = torch.ones(1, 1, 2, 2)
    assert open_gates(1)(-x, x).item() == pytest.approx(4.0)
    assert open_gates(1)(x, x).item() == pytest.approx(0.0, abs=1e-6)


def test_zero_features_have_no_direction_and_a_finite_gradient() -> None:
    student = torch.zeros(1, 5, 2, 2, requires_grad=True)
    value = small()(student, torch.ones(1, 5, 2, 2))
    value.backward()
    assert value.item() == pytest.approx(1.0)
    assert student.grad.isfinite().all()


def test_both_gates_learn() -> None:
    student, teacher, _ = batch()
    loss = small().double()
    loss(student, teacher).backward()
    assert [tuple(p.shape) for p in loss.parameters()] == [(2, 5), (5, 2), (1, 2, 7, 7)]
    assert all(p.grad.abs().sum() > 0 for p in loss.parameters())


def test_the_hidden_layer_has_at_least_one_unit() -> None:
    assert small(reduction=16).channel[0].weight.shape == (1, 5)
    assert AttnFD(channels=256).channel[0].weight.shape == (16, 256)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"channels": 0}, "channels must be > 0, got 0"), ({"reduction": 0}, "reduction must be > 0, got 0")],
)
def test_hyperparameters(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**wrong)


def test_maps_have_the_channels_of_the_constructor() -> None:
    x = torch.zeros(1, 4, 2, 2)
    with pytest.raises(ValueError, match=r"teacher must have channels=5, got \(1, 4, 2, 2\)"):
        small()(x, x)
