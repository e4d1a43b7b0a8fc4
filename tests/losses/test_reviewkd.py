"""reviewkd: a number by hand, the released code's numbers, the poolings taken literally."""

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import ReviewKD
from segdistill.losses.reviewkd import _hierarchical
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case(
        "ReviewKD",
        {"student_channels": (6, 6), "teacher_channels": (6, 6), "width": 4},
        nonzero_at_equality="the fusion is random",
        maps=True,
        three={"teacher_channels": (3, 3)},
        sees_void="convolutions see neighbours, and batch normalisation void images",
    ),
]  # rows of the contract test

Maps = tuple[Tensor, ...]
Golden = Callable[[str], dict[str, Tensor]]


def everywhere(maps: Tensor) -> Tensor:
    return torch.ones_like(maps[:, 0], dtype=torch.bool)


def literal(student: Maps, teacher: Maps, labels: Maps, state: dict[str, Tensor]) -> Tensor:
    """Fuse from the deepest map up, then compare the means of every cell, pooling by pooling."""

    def layer(x: Tensor, name: str) -> Tensor:
        weight = state[f"{name}.0.weight"]
        x = F.conv2d(x, weight, padding=weight.shape[2] // 2)
        return F.batch_norm(x, None, None, state[f"{name}.1.weight"], state[f"{name}.1.bias"], training=True)

    def cells(maps: Tensor, valid: Tensor, rows: int, columns: int) -> list[Tensor]:
        """Return the mean of the valid positions of every cell that has any."""
        _, height, width = valid.shape
        means = []
        for n, i, j in itertools.product(range(len(maps)), range(rows), range(columns)):
            window = (
                slice(i * height // rows, -(-(i + 1) * height // rows)),
                slice(j * width // columns, -(-(j + 1) * width // columns)),
            )
            if valid[n][window].any():
                means.append(maps[n, :, *window][:, valid[n][window]].mean(dim=1))
        return means

    total, deeper = 0, None
    for number in reversed(range(len(student))):
        valid = labels[number] != 255
        x = layer(student[number] * valid[:, None], f"fusions.{number}.enter")
        if deeper is not None:
            (down, across) = (x.shape[2] // deeper.shape[2], x.shape[3] // deeper.shape[3])
            deeper = deeper.repeat_interleave(down, dim=2).repeat_interleave(across, dim=3)
            name = f"fusions.{number}.attention.0"
            scores = F.conv2d(torch.cat([x, deeper], dim=1), state[f"{name}.weight"], state[f"{name}.bias"]).sigmoid()
            x = scores[:, :1] * x + scores[:, 1:] * deeper
        deeper, fused = x, layer(x, f"fusions.{number}.leave")
        sizes = [valid.shape[1:], *((side, side) for side in (4, 2, 1) if side < min(valid.shape[1:]))]
        weights = [2.0**-k for k in range(len(sizes))]
        for weight, size in zip(weights, sizes, strict=True):
            pairs = zip(*(cells(maps, valid, *size) for maps in (fused, teacher[number])), strict=True)
            total = total + weight / sum(weights) * torch.stack([(s - t).square().mean() for s, t in pairs]).mean()
    return total


def test_is_the_equation_taken_literally() -> None:
    drawn = [batch(*channels, size=size) for *channels, size in ((3, 4, (6, 10)), (4, 5, (3, 5)))]
    students, teachers, labels = zip(*drawn, strict=True)
    labels = labels[0], labels[0][:, ::2, ::2]
    loss = ReviewKD(student_channels=(3, 4), teacher_channels=(4, 5), width=3).double()
    same_value_and_gradient(
        lambda: loss(students, teachers, labels[0]),
        lambda: literal(students, teachers, labels, dict(loss.named_parameters())),
        [*students, *loss.parameters()],
    )


def test_two_by_two_by_hand() -> None:
    difference = torch.tensor([[1.0, -1.0], [3.0, 1.0]]).view(1, 1, 2, 2)
    # The map: (1 + 1 + 9 + 1) / 4 = 3. Pooled to one cell: 1, at half the weight. No 2 x 2, no 4 x 4.
    value = _hierarchical(difference, torch.zeros_like(difference), everywhere(difference))
    assert value.item() == pytest.approx((3 + 0.5 * 1) / 1.5)


def test_golden_context(agrees_with_golden: Callable[..., None]) -> None:
    agrees_with_golden("reviewkd_hcl_case0", lambda s, t, _: _hierarchical(s, t, everywhere(s)), kind="features")


def test_golden_fusion(golden: Golden) -> None:
    data = golden("reviewkd_abf_hcl_case0")
    loss = ReviewKD(student_channels=(16, 24), teacher_channels=(16, 24), width=12).double()
    names = {"conv1": "enter", "conv2": "leave", "att_conv": "attention"}
    state = {}
    for key in data:
        if key.startswith("w_abfs__"):
            _, number, layer, *rest = key.split("__")  # the released order is deep to shallow
            state[".".join(["fusions", str(1 - int(number)), names[layer], *rest])] = data[key]
    loss.load_state_dict(state)
    student = tuple(data[f"student_features_{k}"].requires_grad_() for k in (1, 2))
    value = loss(student, tuple(data[f"teacher_features_{k}"] for k in (1, 2)))
    value.backward()
    torch.testing.assert_close(value, data["loss"], rtol=1e-9, atol=0)
    for k, maps in enumerate(student, start=1):
        expected = data[f"grad_student_features_{k}"]
        torch.testing.assert_close(maps.grad, expected, rtol=0, atol=1e-9 * expected.abs().max().item())


@pytest.mark.parametrize(
    ("size", "sides"), [((8, 12), (4, 2, 1)), ((9, 5), (4, 2, 1)), ((9, 4), (2, 1)), ((2, 9), (1,)), ((1, 7), ())]
)
def test_poolings_taken_literally(rng: torch.Generator, size: tuple[int, int], sides: tuple[int, ...]) -> None:
    student, teacher = torch.randn(2, 2, 3, *size, generator=rng)
    student.requires_grad_()
    weights, expected = [1.0], F.mse_loss(student, teacher)
    for side in sides:
        weights.append(weights[-1] / 2)
        pooled = [F.adaptive_avg_pool2d(x, (side, side)) for x in (student, teacher)]
        expected = expected + weights[-1] * F.mse_loss(*pooled)
    expected = expected / sum(weights)
    value = _hierarchical(student, teacher, everywhere(student))
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(x, student)[0] for x in (value, expected)))


def test_void_positions_are_left_out_of_the_cells() -> None:
    student = torch.arange(16.0).view(1, 1, 4, 4)
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    valid[:, :2, :2] = False  # a cell of the 2 x 2 has nothing
    valid[:, 3, 3] = False
    kept = [2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    cells = [(2 + 3 + 6 + 7) / 4, (8 + 9 + 12 + 13) / 4, (10 + 11 + 14) / 3]
    full, two, one = (sum(x**2 for x in some) / len(some) for some in (kept, cells, [sum(kept) / len(kept)]))
    value = _hierarchical(student, torch.zeros_like(student), valid)
    assert value.item() == pytest.approx((full + two / 2 + one / 4) / 1.75)


def test_deep_features_reach_shallow_comparisons_and_not_the_other_way(rng: torch.Generator) -> None:
    loss = ReviewKD(student_channels=(3, 4, 5), teacher_channels=(2, 2, 2), width=8)
    shapes = [(3, 8, 12), (4, 4, 6), (5, 3, 2)]
    student = [torch.randn(2, *shape, generator=rng, requires_grad=True) for shape in shapes]
    deeper, reached = None, []
    for fusion, maps in zip(reversed(loss.fusions), reversed(student), strict=True):
        compared, deeper = fusion(maps, deeper)
        assert compared.shape == (2, 2, *maps.shape[2:])
        gradients = torch.autograd.grad(compared.square().sum(), student, retain_graph=True, allow_unused=True)
        reached.append([x is not None and x.abs().sum().item() > 0 for x in gradients])
    assert reached == [[False, False, True], [False, True, True], [True, True, True]]
    assert deeper.shape[1] == 5  # no wider than the student's deepest


def test_what_stands_in_void_positions_changes_nothing(rng: torch.Generator) -> None:
    student, teacher = ([torch.randn(2, 3, 8 // s, 8 // s, generator=rng) for s in (1, 2)] for _ in "st")
    labels = torch.zeros(2, 16, 16, dtype=torch.long)
    labels[..., :8] = 255
    loss = ReviewKD(student_channels=(3, 3), teacher_channels=(3, 3))
    value = loss(tuple(student), tuple(teacher), labels)
    for maps in (*student, *teacher):
        maps[..., : maps.shape[3] // 2] += 1
    torch.testing.assert_close(loss(tuple(student), tuple(teacher), labels), value)
    student[0][..., -1] += 1
    assert loss(tuple(student), tuple(teacher), labels) != value


def test_everything_learns(rng: torch.Generator) -> None:
    loss = ReviewKD(student_channels=(3, 4), teacher_channels=(5, 6))
    student = tuple(torch.randn(2, c, s, s, generator=rng) for c, s in ((3, 6), (4, 3)))
    loss(student, tuple(torch.randn(2, c, s, s, generator=rng) for c, s in ((5, 6), (6, 3)))).backward()
    assert all(p.grad.abs().sum() > 0 for p in loss.parameters())


def test_errors() -> None:
    with pytest.raises(ValueError, match="one entry per map, got 2 and 1"):
        ReviewKD(student_channels=(3, 4), teacher_channels=(3,))
    loss = ReviewKD(student_channels=(3, 4), teacher_channels=(3, 4))
    maps = tuple(torch.ones(2, c, 4, 4) for c in (3, 4))
    with pytest.raises(ValueError, match=r"student_channels=3 and .*, got student \(2, 4, 4, 4\)"):
        loss(maps[::-1], maps)  # deep to shallow
    with pytest.raises(ValueError, match="teacher must be a tuple of 2 maps, .* got a tuple of 1"):
        loss(maps, maps[:1])
