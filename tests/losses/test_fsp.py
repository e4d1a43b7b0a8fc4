"""fsp: a number by hand, the released code's numbers, then properties of its own."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import FSP, fsp
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("FSP", maps=True),
]  # rows of the contract test


def maps(rng: torch.Generator, *shapes: tuple[int, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    student, teacher = ([torch.randn(shape, generator=rng) for shape in shapes] for _ in range(2))
    return tuple(student), tuple(teacher)


def literal(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], labels: Tensor) -> Tensor:
    """Compare the products of every two channels of consecutive maps; the larger map is pooled to the smaller."""

    def cells(maps: Tensor, n: int, size: tuple[int, int]) -> dict[tuple[int, int], Tensor]:
        """Return the mean of the valid positions of every cell that has any, of ``size`` cells."""
        (height, width), down = maps.shape[2:], labels.shape[1] // maps.shape[2]
        valid = labels[n, ::down, ::down] != 255
        found = {}
        for y, x in itertools.product(range(size[0]), range(size[1])):
            rows, columns = height // size[0], width // size[1]
            window = (slice(y * rows, (y + 1) * rows), slice(x * columns, (x + 1) * columns))
            if valid[window].any():
                found[y, x] = maps[n, :, *window][:, valid[window]].mean(dim=1)
        return found

    def products(first: Tensor, second: Tensor, n: int) -> Tensor | None:
        size = (min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3]))
        a, b = cells(first, n, size), cells(second, n, size)
        both = [place for place in a if place in b]
        return sum(torch.outer(a[place], b[place]) for place in both) / len(both) if both else None

    total = 0
    for layer in range(len(student) - 1):
        pairs = [[products(*maps[layer : layer + 2], n) for maps in (student, teacher)] for n in range(len(labels))]
        squares = [(ours - theirs).square().mean() for ours, theirs in pairs if ours is not None]
        total = total + torch.stack(squares).mean()
    return total


def test_is_the_equation_taken_literally() -> None:
    drawn = [batch(d, d, size=size) for d, size in ((3, (4, 6)), (5, (4, 6)), (4, (2, 3)))]
    students, teachers, labels = zip(*drawn, strict=True)
    same_value_and_gradient(
        lambda: fsp(students, teachers, labels[0]), lambda: literal(students, teachers, labels[0]), students
    )


def test_one_channel_by_hand() -> None:
    student = (torch.tensor([1.0, 2.0]).view(1, 1, 1, 2), torch.tensor([3.0, 5.0]).view(1, 1, 1, 2))
    teacher = (torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2))
    assert fsp(student, teacher).item() == pytest.approx(((1 * 3 + 2 * 5) / 2 - 1) ** 2)


def test_golden(golden: Callable[[str], dict[str, Tensor]]) -> None:
    data = golden("fsp_case0")
    student = tuple(data[f"student_features_{i}"].requires_grad_() for i in (1, 2))
    value = FSP()(student, tuple(data[f"teacher_features_{i}"] for i in (1, 2)))
    value.backward()
    torch.testing.assert_close(value, data["loss"], rtol=1e-9, atol=0)
    for i, each in enumerate(student, start=1):
        torch.testing.assert_close(each.grad, data[f"grad_student_features_{i}"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("larger", [0, 1])
def test_the_larger_map_is_pooled_and_stays_oblong(rng: torch.Generator, larger: int) -> None:
    shapes = [(2, 3, 2, 6), (2, 4, 2, 6)]
    shapes[larger] = (*shapes[larger][:2], 4, 12)
    student, teacher = maps(rng, *shapes)
    small = [tuple(F.avg_pool2d(x, 2) if i == larger else x for i, x in enumerate(side)) for side in (student, teacher)]
    torch.testing.assert_close(fsp(student, teacher), fsp(*small))


def test_each_side_s_smaller_extent_counts(rng: torch.Generator) -> None:
    student, teacher = maps(rng, (1, 3, 4, 3), (1, 2, 2, 6))
    small = [(F.avg_pool2d(a, (2, 1)), F.avg_pool2d(b, (1, 2))) for a, b in (student, teacher)]
    torch.testing.assert_close(fsp(student, teacher), fsp(*small))


def test_void_positions_are_left_out_of_the_pooling(rng: torch.Generator) -> None:
    student, teacher = maps(rng, (1, 3, 4, 4), (1, 2, 2, 2))
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    labels[0, 1, 1] = labels[0, 2:, 2:] = 255  # one position of the first cell, the whole of the last
    labels[0, 0, 2] = 255  # the one that the second cell has at the smaller map's resolution
    for x in student:
        x.requires_grad_()
    value = fsp(student, teacher, labels)
    value.backward()
    void = labels[0] == 255
    assert student[0].grad[0, :, void].abs().sum() == 0
    unpaired = torch.zeros_like(void)
    unpaired[:2, 2:] = True
    assert ((student[0].grad[0] != 0) == ~(void | unpaired)).all()
    assert student[1].grad[0, :, :, 1].abs().sum() == 0

    def product(a: Tensor, b: Tensor) -> Tensor:
        cells = [torch.stack([a[0, :, 0, 0], a[0, :, 0, 1], a[0, :, 1, 0]]).mean(0), a[0, :, 2:, :2].mean((1, 2))]
        return sum(torch.outer(x, b[0, :, i, 0]) for i, x in enumerate(cells)) / 2

    torch.testing.assert_close(value, (product(*student) - product(*teacher)).square().mean())


def test_a_cell_that_is_void_in_either_map_is_left_out(rng: torch.Generator) -> None:
    student, teacher = maps(rng, (1, 3, 4, 3), (1, 2, 2, 6))
    labels = torch.zeros(1, 4, 6, dtype=torch.long)
    labels[0, :, 0] = 255  # of every second column, all that the first map sees
    cropped = [(a[..., 1:], b[..., 2:]) for a, b in (student, teacher)]
    torch.testing.assert_close(fsp(student, teacher, labels), fsp(*cropped))


def test_three_maps_are_two_pairs(rng: torch.Generator) -> None:
    student, teacher = maps(rng, (2, 3, 4, 4), (2, 5, 4, 4), (2, 4, 2, 2))
    pairs = fsp(student[:2], teacher[:2]) + fsp(student[1:], teacher[1:])
    torch.testing.assert_close(fsp(student, teacher), pairs)


X = torch.zeros(2, 3, 4, 4)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (X, X, "student must be a tuple of at least two maps.* got a Tensor; give the Term a list"),
        ([X, X], (X, X), "student must be a tuple .* got a list"),
        ((X,), (X, X), "student must be a tuple .* got a tuple of 1"),
        ((X, X), X, "teacher must be a tuple .* got a Tensor"),
        ((X, X), (X, X, X), "equally many maps, got 2 and 3"),
        ((X, X), (X, X[..., :2]), r"student \(2, 3, 4, 4\) and teacher \(2, 3, 4, 2\)"),
        ((X, X[:1]), (X, X[:1]), r"the same N, got \[\(2, 3, 4, 4\), \(1, 3, 4, 4\)\]"),
    ],
)
def test_what_is_no_pair_of_tuples_is_an_error(student: Any, teacher: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fsp(student, teacher)
