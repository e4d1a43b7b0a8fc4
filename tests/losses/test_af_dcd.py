"""af_dcd: a number by hand, the released code's numbers, the equation taken literally, masks and blocks."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import AfDCD, af_dcd
from segdistill.losses.af_dcd import _omni_contrast
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case(
        "AfDCD",
        {"student_channels": 6, "teacher_channels": 6, "groups": 3, "pool": 2, "patch": 2, "mask_ratio": 0.0},
        nonzero_at_equality="the projector stands between student and teacher",
    ),
]  # rows of the contract test

Golden = Callable[[str], dict[str, Tensor]]
DISTILLATION = {"fd_weight": 1.0, "contrast_weight": 0.0}
CONTRAST = {"fd_weight": 0.0, "contrast_weight": 1.0}


def small(**kwargs: Any) -> AfDCD:
    torch.manual_seed(0)
    widths = {"student_channels": 3, "teacher_channels": 4, "groups": 2, "pool": 2, "patch": 2}
    return AfDCD(**widths | CONTRAST | {"fd_weight": 1.0} | kwargs)


def inputs(height: int = 8, width: int = 8, student_channels: int = 3) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    student = torch.randn(2, student_channels, height, width, generator=rng)
    return student.requires_grad_(), torch.randn(2, 4, height, width, generator=rng)


def literal_contrast(
    student: Tensor, teacher: Tensor, valid: Tensor, groups: int, pool: int, patch: int, temperature: float
) -> Tensor:
    """Return the contrast, one vector at a time."""
    total, positions = 0, 0
    for y, t, seen in zip(student, teacher, valid, strict=True):
        pooled: dict[tuple[int, int], tuple[tuple[Tensor, ...], tuple[Tensor, ...]]] = {}
        for row in range(0, y.shape[1], pool):
            for column in range(0, y.shape[2], pool):
                window = (slice(row, row + pool), slice(column, column + pool))
                inside = seen[window]
                if inside.any():
                    pooled[row // pool, column // pool] = tuple(
                        x[:, *window][:, inside].amax(dim=1).chunk(groups) for x in (y, t)
                    )
        for i, (ours, theirs) in pooled.items():
            positions += 1
            for g in range(groups):
                own = (-(ours[g] - theirs[g]).abs().sum() / temperature).exp()
                others = [
                    (-(ours[g] - elsewhere[h]).abs().sum() / temperature).exp()
                    for j, (_, elsewhere) in pooled.items()
                    for h in range(groups)
                    if h != g and (j[0] // patch, j[1] // patch) == (i[0] // patch, i[1] // patch)
                ]
                total = total - (own / (own + sum(others))).log()
    return total / positions


def literal(
    student: Tensor,
    teacher: Tensor,
    valid: Tensor,
    kept: Tensor,
    state: dict[str, Tensor],
    weights: tuple[float, float],
) -> Tensor:
    """Return both terms, with two groups, a pooling of 2, patches of 2 and temperature 0.5."""
    x = F.conv2d(student, state["align.weight"], state["align.bias"]) * (kept & valid)[:, None]
    x = F.conv2d(x, state["projector.0.weight"], state["projector.0.bias"], padding=1).relu() * valid[:, None]
    rebuilt = F.conv2d(x, state["projector.1.weight"], state["projector.1.bias"], padding=1)
    images = [(y, t, seen) for y, t, seen in zip(rebuilt, teacher, valid, strict=True) if seen.any()]
    distillation = sum((y[:, seen] - t[:, seen]).square().sum() for y, t, seen in images) / len(images)
    return weights[0] * distillation + weights[1] * literal_contrast(rebuilt, teacher, valid, 2, 2, 2, 0.5)


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (3, 2)])
@pytest.mark.parametrize(("pool", "patch"), [(2, 2), (1, 3), (3, 1)])
def test_contrast_is_the_equation_taken_literally(size: tuple[int, int], pool: int, patch: int) -> None:
    student, teacher, labels = batch(6, 6, size=size)
    valid = labels != 255
    same_value_and_gradient(
        lambda: _omni_contrast(student, teacher, valid, groups=3, pool=pool, patch=patch, temperature=2.0),
        lambda: literal_contrast(student, teacher, valid, 3, pool, patch, 2.0),
        [student],
    )


def test_is_the_equation_taken_literally(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher, labels = batch(3, 4, size=(5, 7))
    loss = small(temperature=0.5, fd_weight=0.3, contrast_weight=2.0).double()
    kept = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    monkeypatch.setattr(loss, "draw_kept", lambda like: kept)
    same_value_and_gradient(
        lambda: loss(student, teacher, labels),
        lambda: literal(student, teacher, labels != 255, kept, dict(loss.named_parameters()), (0.3, 2.0)),
        [student, *loss.parameters()],
    )


def test_contrast_of_two_groups_by_hand() -> None:
    student = torch.tensor([1.0, 4.0]).view(1, 2, 1, 1)
    teacher = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1)
    # Group 0: 0 from its own, 1 from the other; group 1: 2 from its own, 3 from the other. Temperature 1 / 2.
    expected = 2 * math.log(1 + math.exp(-2))
    valid = torch.ones(1, 1, 1, dtype=torch.bool)
    value = _omni_contrast(student, teacher, valid, groups=2, pool=1, patch=1, temperature=0.5)
    assert value.item() == pytest.approx(expected)


@pytest.mark.parametrize("at_a_time", [af_dcd._NUMBERS_AT_A_TIME, 1])
@pytest.mark.parametrize(("part", "weights"), [("fd", DISTILLATION), ("ctr", CONTRAST)])
def test_golden(
    golden: Golden, monkeypatch: pytest.MonkeyPatch, part: str, weights: dict[str, float], at_a_time: int
) -> None:
    monkeypatch.setattr(af_dcd, "_NUMBERS_AT_A_TIME", at_a_time)
    data = golden("af_dcd_full_centremask_case0")
    loss = AfDCD(student_channels=16, teacher_channels=24, groups=4, pool=2, patch=2, **weights).double()
    names = {"align": "w_align", "projector.0": "w_projetor__0", "projector.1": "w_projetor__2"}
    loss.load_state_dict({f"{n}.{w}": data[f"{k}__{w}"] for n, k in names.items() for w in ("weight", "bias")})
    kept = torch.ones(2, 8, 12, dtype=torch.bool)
    kept[:, 2:5, 4:8] = False
    monkeypatch.setattr(loss, "draw_kept", lambda like: kept)
    student = data["student_features"].requires_grad_()
    value = loss(student, data["teacher_features"])
    value.backward()
    torch.testing.assert_close(value, data[f"loss_{part}"], rtol=1e-9, atol=0)
    expected = data[f"grad_student_features_{part}"]
    torch.testing.assert_close(student.grad, expected, rtol=0, atol=1e-9 * expected.abs().max().item())


@pytest.mark.parametrize("at_a_time", [af_dcd._NUMBERS_AT_A_TIME, 1])
def test_golden_contrast(golden: Golden, monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    monkeypatch.setattr(af_dcd, "_NUMBERS_AT_A_TIME", at_a_time)
    data = golden("af_dcd_contrast_only_case0")
    student, valid = data["student_features"].requires_grad_(), torch.ones(2, 8, 12, dtype=torch.bool)
    value = _omni_contrast(student, data["teacher_features"], valid, groups=4, pool=2, patch=2, temperature=0.07)
    value = value * 2  # the file's number is before the division by the batch
    value.backward()
    torch.testing.assert_close(value, data["loss"], rtol=1e-9, atol=0)
    expected = data["grad_student_features"]
    torch.testing.assert_close(student.grad, expected, rtol=0, atol=1e-9 * expected.abs().max().item())


def test_parts_add_up_with_their_weights() -> None:
    student, teacher = inputs()
    fd, contrast = (
        small(**weights, generator=torch.Generator().manual_seed(1))(student, teacher)
        for weights in (DISTILLATION, CONTRAST)
    )
    both = small(fd_weight=0.5, contrast_weight=3.0, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(both(student, teacher), 0.5 * fd + 3 * contrast)


def test_distillation_is_a_sum_and_a_mean_over_images_that_have_any() -> None:
    student, teacher = inputs()
    loss = small(**DISTILLATION, mask_ratio=0.0)
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    labels = torch.zeros(2, 8, 8, dtype=torch.long)
    first, second = loss.projector
    rebuilt = second(first(loss.align(student)).relu())
    torch.testing.assert_close(loss.rebuild(student, valid, valid), rebuilt)
    torch.testing.assert_close(loss(student, teacher, labels), F.mse_loss(rebuilt, teacher, reduction="sum") / 2)
    labels[0] = 255
    torch.testing.assert_close(loss(student, teacher, labels), F.mse_loss(rebuilt[1], teacher[1], reduction="sum"))


def test_equal_widths_need_no_connector() -> None:
    student, teacher = inputs(student_channels=4)
    loss = small(student_channels=4)
    loss(student, teacher).backward()
    assert [tuple(p.shape) for p in loss.parameters()] == [(4, 4, 3, 3), (4,)] * 2
    assert student.grad.abs().sum() > 0


def test_connector_and_projector_learn_with_the_student() -> None:
    student, teacher = inputs()
    for weights in (DISTILLATION, CONTRAST):
        loss = small(**weights)
        loss(student, teacher).backward()
        assert [tuple(p.shape) for p in loss.parameters()] == [(4, 3, 1, 1), (4,), *[(4, 4, 3, 3), (4,)] * 2]
        assert all(p.grad.abs().sum() > 0 for p in loss.parameters())


def test_masked_positions_are_hidden_in_all_channels() -> None:
    student, teacher = inputs()
    loss = small(generator=torch.Generator().manual_seed(1))
    loss(student, teacher).backward()
    kept = small(generator=torch.Generator().manual_seed(1)).draw_kept(student)
    assert kept.shape == (2, 8, 8)
    assert ((student.grad != 0) == kept[:, None]).all()


def test_masks_hide_their_share_and_are_drawn_anew() -> None:
    like = torch.empty(2, 1, 100, 100)
    loss = AfDCD(student_channels=4, teacher_channels=16, generator=torch.Generator().manual_seed(0))
    first, second = loss.draw_kept(like), loss.draw_kept(like)
    assert first.float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert not first.equal(second)
    assert not first[0].equal(first[1])
    assert small(mask_ratio=0.0).draw_kept(like).all()


def test_every_position_of_a_map_that_no_patch_divides_counts() -> None:
    student, teacher = inputs(9, 11)
    loss = small(**CONTRAST, mask_ratio=0.0, pool=1, patch=4)
    loss(student, teacher).backward()
    assert (student.grad.abs().sum(dim=1) > 0).all()


def test_blocks_hold_no_map_of_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = torch.randn(2, 2, 4, 16, 16, requires_grad=True)
    valid = torch.ones(2, 16, 16, dtype=torch.bool)

    def largest() -> tuple[Tensor, Tensor, int]:
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            value = _omni_contrast(student, teacher, valid, groups=2, pool=1, patch=4, temperature=0.1)
        return value, torch.autograd.grad(value, student)[0], max(sizes)

    whole, whole_gradient, held = largest()
    assert held >= 32 * 32**2  # patches, and pairs of vectors in each
    monkeypatch.setattr(af_dcd, "_NUMBERS_AT_A_TIME", 5 * 32**2 * 8)  # five patches, and a last block of two
    value, gradient, held = largest()
    assert held <= student.numel()
    torch.testing.assert_close(value, whole)
    torch.testing.assert_close(gradient, whole_gradient)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"student_channels": 0}, "student_channels must be > 0, got 0"),
        ({"groups": 3}, "groups must be >= 2 and divide teacher_channels=4, got 3"),
        ({"groups": 1}, "groups must be >= 2 and divide teacher_channels=4, got 1"),
        ({"pool": 0}, "pool must be > 0, got 0"),
        ({"patch": 0}, "patch must be > 0, got 0"),
        ({"temperature": 0.0}, "temperature must be > 0, got 0"),
        ({"mask_ratio": 1.0}, "mask_ratio must be >= 0 and < 1, got 1.0"),
        ({"mask_ratio": -0.1}, "mask_ratio must be >= 0 and < 1, got -0.1"),
    ],
)
def test_hyperparameters(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**wrong)


def test_maps_have_the_channels_of_the_constructor() -> None:
    _, teacher = inputs()
    message = r"student_channels=3 and teacher_channels=4, got student \(2, 4, 8, 8\) and teacher \(2, 4, 8, 8\)"
    with pytest.raises(ValueError, match=message):
        small()(teacher, teacher)
