"""mgd: a number by hand, the equation taken literally, Af-DCD's first part and its numbers, the masks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from segdistill.losses import MGD, AfDCD
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case(
        "MGD",
        {"student_channels": 6, "teacher_channels": 6, "mask_ratio": 0.0},
        nonzero_at_equality="the generation block stands between student and teacher",
    ),
]  # rows of the contract test


def small(**kwargs: Any) -> MGD:
    torch.manual_seed(0)
    return MGD(**{"student_channels": 3, "teacher_channels": 4} | kwargs)


def convolved(maps: dict[tuple[int, int], Tensor], weight: Tensor, bias: Tensor) -> dict[tuple[int, int], Tensor]:
    """Return a convolution of maps given by position; a missing position is zero."""
    half = weight.shape[2] // 2
    result = {}
    for y, x in maps:
        total = bias
        for row in range(-half, half + 1):
            for column in range(-half, half + 1):
                if (y + row, x + column) in maps:
                    total = total + weight[:, :, half + row, half + column] @ maps[y + row, x + column]
        result[y, x] = total
    return result


def literal(student: Tensor, teacher: Tensor, labels: Tensor, kept: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Return the sum of squares, position by position, over the number of images that have any."""
    total, images = 0, 0
    for n in range(len(student)):
        valid = [tuple(position) for position in (labels[n] != 255).nonzero().tolist()]
        images += bool(valid)
        maps = {
            (y, x): kept[n, y, x] * (state["align.weight"][:, :, 0, 0] @ student[n, :, y, x] + state["align.bias"])
            for y, x in valid
        }
        hidden = convolved(maps, state["projector.0.weight"], state["projector.0.bias"])
        hidden = {position: values.clamp(min=0) for position, values in hidden.items()}
        rebuilt = convolved(hidden, state["projector.1.weight"], state["projector.1.bias"])
        for y, x in valid:
            for c in range(teacher.shape[1]):
                total = total + (teacher[n, c, y, x] - rebuilt[y, x][c]) ** 2
    return total / images


def test_is_the_equation_taken_literally(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher, labels = batch(3, 4)
    loss = small().double()
    kept = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    monkeypatch.setattr(loss, "draw_kept", lambda like: kept)
    same_value_and_gradient(
        lambda: loss(student, teacher, labels),
        lambda: literal(student, teacher, labels, kept, dict(loss.named_parameters())),
        [student, *loss.parameters()],
    )


def test_one_channel_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = MGD(student_channels=1, teacher_channels=1)
    with torch.no_grad():
        for layer, weight in zip(loss.projector, (1.0, 2.0), strict=True):
            layer.weight.fill_(weight)
            layer.bias.zero_()
    student = torch.tensor([3.0, -5.0]).view(1, 1, 1, 2)
    teacher = torch.tensor([10.0, 20.0]).view(1, 1, 1, 2)
    # The second position is masked. Both hidden values are 3, and both predictions 2 (3 + 3) = 12.
    monkeypatch.setattr(loss, "draw_kept", lambda like: torch.tensor([[[True, False]]]))
    assert loss(student, teacher).item() == (10 - 12) ** 2 + (20 - 12) ** 2
    # With both positions, the hidden values are max(0, 3 - 5) = 0.
    monkeypatch.setattr(loss, "draw_kept", lambda like: torch.tensor([[[True, True]]]))
    assert loss(student, teacher).item() == 10**2 + 20**2


def test_is_the_first_part_of_af_dcd() -> None:
    student, teacher, labels = batch(3, 4)
    torch.manual_seed(0)
    other = AfDCD(student_channels=3, teacher_channels=4, groups=2, fd_weight=0.5, contrast_weight=0.0).double()
    loss = small().double()
    loss.load_state_dict(other.state_dict())
    for each in (loss, other):
        each.generator = torch.Generator().manual_seed(1)
    torch.testing.assert_close(0.5 * loss(student, teacher, labels), other(student, teacher, labels))


def test_golden_of_af_dcd(golden: Callable[[str], dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch) -> None:
    data = golden("af_dcd_full_centremask_case0")
    loss = MGD(student_channels=16, teacher_channels=24).double()
    names = {"align": "w_align", "projector.0": "w_projetor__0", "projector.1": "w_projetor__2"}
    loss.load_state_dict({f"{n}.{w}": data[f"{k}__{w}"] for n, k in names.items() for w in ("weight", "bias")})
    kept = torch.ones(2, 8, 12, dtype=torch.bool)
    kept[:, 2:5, 4:8] = False
    monkeypatch.setattr(loss, "draw_kept", lambda like: kept)
    student = data["student_features"].requires_grad_()
    value = loss(student, data["teacher_features"])
    value.backward()
    torch.testing.assert_close(value, data["loss_fd"], rtol=1e-9, atol=0)
    expected = data["grad_student_features_fd"]
    torch.testing.assert_close(student.grad, expected, rtol=0, atol=1e-9 * expected.abs().max().item())


def test_all_layers_learn_and_equal_widths_need_no_connector() -> None:
    student, teacher, _ = batch(3, 4)
    loss = small().double()
    loss(student, teacher).backward()
    assert [tuple(p.shape) for p in loss.parameters()] == [(4, 3, 1, 1), (4,), *[(4, 4, 3, 3), (4,)] * 2]
    assert all(p.grad.abs().sum() > 0 for p in loss.parameters())
    assert [tuple(p.shape) for p in small(student_channels=4).parameters()] == [(4, 4, 3, 3), (4,)] * 2


def test_masks_hide_their_share_of_positions_and_are_drawn_anew() -> None:
    like = torch.empty(2, 3, 100, 100)
    loss = small(generator=torch.Generator().manual_seed(0))
    first, second = loss.draw_kept(like), loss.draw_kept(like)
    assert first.shape == (2, 100, 100)
    assert first.float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert not first.equal(second)
    assert small(mask_ratio=0.0).draw_kept(like).all()


def test_the_student_learns_only_at_positions_that_are_kept() -> None:
    student, teacher, _ = batch(3, 4, size=(8, 8))
    loss = small(generator=torch.Generator().manual_seed(1)).double()
    loss(student, teacher).backward()
    kept = small(generator=torch.Generator().manual_seed(1)).draw_kept(student)
    assert ((student.grad != 0) == kept[:, None]).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"student_channels": 0}, "student_channels must be > 0, got 0"),
        ({"teacher_channels": 1.5}, "teacher_channels must be a whole number, got 1.5"),
        ({"mask_ratio": 1.0}, "mask_ratio must be >= 0 and < 1, got 1.0"),
    ],
)
def test_hyperparameters(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**wrong)


def test_maps_have_the_channels_of_the_constructor() -> None:
    _, teacher, _ = batch(3, 4)
    with pytest.raises(ValueError, match="student_channels=3 and teacher_channels=4"):
        small().double()(teacher, teacher)
