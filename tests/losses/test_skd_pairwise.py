"""skd_pairwise: a number by hand, an independent reference, released numbers, then properties."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import SKDPairwise, skd_pairwise
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("SKDPairwise"),
    Case("SKDPairwise", {"pool": 1}),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor, pool: int) -> Tensor:
    """Compare every two cells of an image; a cell is the maximum of its valid positions."""
    height, width = labels.shape[1:]

    def cosine(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()

    distances = []
    for n, valid in enumerate(labels != 255):
        corners = itertools.product(range(0, height, pool), range(0, width, pool))
        windows = [(slice(y, y + pool), slice(x, x + pool)) for y, x in corners]
        windows = [window for window in windows if valid[window].any()]
        s, t = ([f[n, :, *w][:, valid[w]].amax(dim=1) for w in windows] for f in (student, teacher))
        pairs = list(itertools.product(range(len(windows)), repeat=2))
        if pairs:
            distances.append(sum((cosine(s[i], s[j]) - cosine(t[i], t[j])) ** 2 for i, j in pairs) / len(pairs))
    return torch.stack(distances).mean()


# Few positions compare the maps of similarities, many the products of the channels.
@pytest.mark.parametrize(("size", "pool"), [((3, 3), 1), ((6, 6), 1), ((5, 7), 2)])
def test_is_the_equation_taken_literally(size: tuple[int, int], pool: int) -> None:
    student, teacher, labels = batch(5, 7, size=size)
    same_value_and_gradient(
        lambda: skd_pairwise(student, teacher, labels, pool=pool),
        lambda: literal(student, teacher, labels, pool),
        [student],
    )


def test_two_positions_by_hand() -> None:
    student = torch.tensor([[2.0, 0.0], [0.0, 5.0]]).view(1, 2, 1, 2)  # orthogonal: similarity 0
    teacher = torch.tensor([[3.0, 7.0]]).view(1, 1, 1, 2)  # parallel: similarity 1
    assert skd_pairwise(student, teacher, pool=1).item() == pytest.approx((0 + 1 + 1 + 0) / 4)


def test_golden(agrees_with_golden: Callable[..., None]) -> None:
    agrees_with_golden("skd_pairwise_case1", SKDPairwise(), kind="features")


def test_aicsd_code_by_value(golden: Callable[[str], dict[str, Tensor]]) -> None:
    # It pools to 2 x 2 cells and holds the norms constant, which changes the gradient.
    data = golden("aicsd_pairwise_skd_case0")
    student, teacher = (torch.nn.functional.max_pool2d(data[f"{x}_features"], (4, 6)) for x in ("student", "teacher"))
    assert skd_pairwise(student, teacher, pool=1).item() == pytest.approx(data["loss"].item(), rel=1e-5)


def test_many_positions_are_exact_in_float32(rng: torch.Generator) -> None:
    teacher = torch.randn(1, 32, 40, 40, generator=rng, dtype=torch.float64).relu()  # similar, as features are
    student = (teacher + 0.3 * torch.randn(teacher.shape, generator=rng)).requires_grad_()
    exact, value = (skd_pairwise(x, teacher.to(x.dtype), pool=1) for x in (student, student.float()))
    torch.testing.assert_close(value.double(), exact, rtol=1e-4, atol=0)
    exact_grad, grad = (torch.autograd.grad(x, student)[0] for x in (exact, value))
    torch.testing.assert_close(grad, exact_grad, rtol=0, atol=1e-4 * exact_grad.abs().max().item())


def test_many_positions_never_hold_a_map_of_all_pairs(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 1, 8, 20, 20, generator=rng)
    kept: list[int] = []

    def pack(saved: Tensor) -> Tensor:
        kept.append(saved.numel())
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        skd_pairwise(student.requires_grad_(), teacher, pool=1)
    assert max(kept) <= student.numel()  # a map of all pairs has 20 times as many entries


def test_pools_by_maximum_with_partial_cells(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 1, 4, 5, 5, generator=rng)
    pooled = [
        torch.stack(
            [torch.stack([x[..., i : i + 2, j : j + 2].amax((2, 3)) for j in (0, 2, 4)], -1) for i in (0, 2, 4)],
            -2,
        )
        for x in (student, teacher)
    ]
    torch.testing.assert_close(skd_pairwise(student, teacher), skd_pairwise(*pooled, pool=1))


def test_a_cell_counts_with_one_valid_position(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 1, 4, 4, 4, generator=rng)
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    labels[0, :2, :2] = torch.tensor([[255, 255], [255, 1]])
    alone = [x.clone() for x in (student, teacher)]
    for x in alone:
        x[0, :, :2, :2] = x[0, :, 1:2, 1:2]  # the valid position everywhere in its cell
    torch.testing.assert_close(skd_pairwise(student, teacher, labels), skd_pairwise(*alone))


def test_dead_features_get_no_gradient(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 1, 4, 3, 3, generator=rng)
    student[..., 0, 0] = 0  # as after a ReLU; 1 / |f| there would be 1e12
    student.requires_grad_()
    skd_pairwise(student, teacher, pool=1).backward()
    assert student.grad[..., 0, 0].abs().sum() == 0
    assert 0 < student.grad.abs().max() < 1


def test_pool_must_be_positive() -> None:
    with pytest.raises(ValueError, match="pool must be > 0, got 0"):
        SKDPairwise(pool=0)
