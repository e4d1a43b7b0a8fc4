"""icsd: a number by hand, independent references, released numbers, then properties."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import ICSD, icsd
from tests.losses.case import Case

CASES = [
    Case("ICSD"),
    Case("ICSD", {"form": "released"}),
]  # rows of the contract test


def released_reference(student: Tensor, teacher: Tensor) -> float:
    """The released code's computation, entry by entry in plain Python."""
    n, c, height, width = student.shape

    def matrix(z: list[list[list[list[float]]]]) -> list[list[float]]:
        def column(image: int, k: int, w: int) -> list[float]:
            exp = [math.exp(z[image][k][h][w]) for h in range(height)]
            return [e / sum(exp) for e in exp]

        def entry(i: int, j: int) -> float:
            i, j = min(i, j), max(i, j)
            return sum(
                b * (math.log(b) - a)
                for image in range(n)
                for w in range(width)
                for a, b in zip(column(image, i, w), column(image, j, w), strict=True)
            )

        rows = [[entry(i, j) / n for j in range(c)] for i in range(c)]
        return [[x / math.hypot(*row) for x in row] for row in rows]

    s, t = matrix(student.tolist()), matrix(teacher.tolist())
    return sum((s[i][j] - t[i][j]) ** 2 for i in range(c) for j in range(c)) / c**2 / n


def test_two_classes_by_hand() -> None:
    student = torch.zeros(1, 2, 1, 2)  # G_1 = G_2 = (1/2, 1/2): no divergence
    teacher = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]]).view(1, 2, 1, 2)  # (3/4, 1/4), (1/2, 1/2)
    forth = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    back = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert icsd(student, teacher).item() == pytest.approx((forth**2 + back**2) / 4, rel=1e-6)


def test_released_form_matches_reference(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 3, 4, 3, 2, generator=rng, dtype=torch.float64)
    value = icsd(student, teacher, form="released").item()
    assert value == pytest.approx(released_reference(student, teacher), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("PAPER_icsd_eq2-4_case0", "paper"),
        ("aicsd_icsd_code_case0", "released"),
        ("aicsd_icsd_code_c21_case0", "released"),
    ],
)
def test_golden(agrees_with_golden: Callable[..., None], name: str, form: str) -> None:
    agrees_with_golden(name, ICSD(form=form))


@pytest.mark.parametrize("form", ["paper", "released"])
def test_ignores_a_constant_added_to_a_class(rng: torch.Generator, form: str) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    shift = torch.randn(2, 5, 1, 1, generator=rng)
    torch.testing.assert_close(icsd(student + shift, teacher, form=form), icsd(student, teacher, form=form))


def test_is_a_mean_over_images(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 3, 5, 3, 4, generator=rng)
    each = [icsd(student[i : i + 1], teacher[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(icsd(student, teacher), torch.stack(each).mean())


def test_form_is_one_of_two() -> None:
    with pytest.raises(ValueError, match='form must be "paper" or "released", got \'code\''):
        ICSD(form="code")
