"""dsd_category: a number by hand, the released code's numbers, then properties of its own."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import DSDCategory, dsd_category
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("DSDCategory"),
    Case("DSDCategory", {"temperature": 1.0, "pool": 1}),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, pool: int) -> Tensor:
    """Compare the overlap of every two classes, image by image, on the means of the valid positions of every cell."""
    _, classes, height, width = student.shape
    squares = []
    for n, valid in enumerate(labels != 255):
        corners = itertools.product(range(0, height, pool), range(0, width, pool))
        windows = [(slice(y, y + pool), slice(x, x + pool)) for y, x in corners]
        cells = [(window, valid[window]) for window in windows if valid[window].any()]
        if cells:
            p, q = (
                [
                    torch.softmax(torch.stack([z[n, c][w][v].mean() for w, v in cells]) / temperature, dim=0)
                    for c in range(classes)
                ]
                for z in (student, teacher)
            )
            pairs = itertools.product(range(classes), repeat=2)
            squares.extend(((p[i] * p[j]).sum() - (q[i] * q[j]).sum()) ** 2 for i, j in pairs)
    return torch.stack(squares).mean()


@pytest.mark.parametrize(("temperature", "pool"), [(4.0, 2), (1.0, 1), (1.0, 3)])
def test_is_the_equation_taken_literally(temperature: float, pool: int) -> None:
    student, teacher, labels = batch()
    same_value_and_gradient(
        lambda: dsd_category(student, teacher, labels, temperature=temperature, pool=pool),
        lambda: literal(student, teacher, labels, temperature, pool),
        [student],
        relative=1e-8,
    )


def test_two_positions_by_hand() -> None:
    student = torch.zeros(1, 2, 1, 2)  # both classes (1/2, 1/2): all correlations 1/2
    teacher = torch.tensor([[2 * math.log(3.0), 0.0], [0.0, 0.0]]).view(1, 2, 1, 2)  # (3/4, 1/4) and (1/2, 1/2)
    expected = (9 / 16 + 1 / 16 - 1 / 2) ** 2 / 4  # the first class with itself; the others stay 1/2
    assert dsd_category(student, teacher, temperature=2.0, pool=1).item() == pytest.approx(expected, rel=1e-5)


def test_golden(agrees_with_golden: Callable[..., None]) -> None:
    agrees_with_golden("dsd_csd_case1", DSDCategory())


def test_pools_the_mean_with_partial_cells(rng: torch.Generator) -> None:
    student, teacher = 3 * torch.randn(2, 1, 4, 5, 5, generator=rng, dtype=torch.float64)
    pooled = [
        torch.stack(
            [torch.stack([x[..., i : i + 2, j : j + 2].mean((2, 3)) for j in (0, 2, 4)], -1) for i in (0, 2, 4)],
            -2,
        )
        for x in (student, teacher)
    ]
    expected = dsd_category(*pooled, pool=1)
    assert dsd_category(student, teacher).item() == pytest.approx(expected.item(), rel=1e-9)


def test_void_positions_are_not_in_a_cells_mean(rng: torch.Generator) -> None:
    student, teacher = 3 * torch.randn(2, 1, 4, 4, 4, generator=rng, dtype=torch.float64)
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    labels[0, 0, 0] = labels[0, 1, 1] = 255
    pooled = [F.avg_pool2d(x, 2) for x in (student, teacher)]
    for cells, x in zip(pooled, (student, teacher), strict=True):
        cells[..., 0, 0] = (x[..., 0, 1] + x[..., 1, 0]) / 2
    expected = dsd_category(*pooled, pool=1).item()
    assert dsd_category(student, teacher, labels).item() == pytest.approx(expected, rel=1e-9)


def test_ignores_a_constant_added_to_a_class_and_where_positions_lie(rng: torch.Generator) -> None:
    student, teacher = 3 * torch.randn(2, 2, 5, 3, 4, generator=rng, dtype=torch.float64)
    expected = dsd_category(student, teacher, pool=1).item()
    shift = torch.randn(2, 5, 1, 1, generator=rng)
    assert dsd_category(student + shift, teacher - shift, pool=1).item() == pytest.approx(expected, rel=1e-5)
    moved = [x.flip(2) for x in (student, teacher)]
    assert dsd_category(*moved, pool=1).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["temperature", "pool"])
def test_hyperparameters_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be > 0, got 0"):
        DSDCategory(**{name: 0})
