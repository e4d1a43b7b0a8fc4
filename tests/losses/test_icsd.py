"""icsd: a number by hand, independent references, released numbers, then properties."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import ICSD, icsd
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("ICSD"),
    Case("ICSD", {"form": "released"}),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Evaluate Eq. 2-4: the divergence of every two classes' distributions over the valid positions, image by image."""
    squares = []
    for n, valid in enumerate(labels != 255):
        if valid.any():
            p, q = ([torch.softmax(scores[valid], dim=0) for scores in z[n]] for z in (student, teacher))
            for i in range(len(p)):
                for j in range(len(p)):
                    ours, theirs = ((g[i] * (g[i] / g[j]).log()).sum() for g in (p, q))
                    squares.append((theirs - ours) ** 2)
    return torch.stack(squares).mean()


def literal_release(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute what the released code does, entry by entry."""
    n, c, _, width = student.shape

    def matrix(z: Tensor) -> list[Tensor]:
        def entry(i: int, j: int) -> Tensor:
            i, j = min(i, j), max(i, j)
            columns = [[torch.softmax(z[k, m, :, w], dim=0) for m in (i, j)] for k in range(n) for w in range(width)]
            return sum((b * (b.log() - a)).sum() for a, b in columns)

        rows = [torch.stack([entry(i, j) for j in range(c)]) for i in range(c)]
        return [row / row.square().sum().sqrt() for row in rows]

    return (torch.stack(matrix(student)) - torch.stack(matrix(teacher))).square().mean() / n


def test_is_the_equation_taken_literally() -> None:
    student, teacher, labels = batch()
    same_value_and_gradient(
        lambda: icsd(student, teacher, labels), lambda: literal(student, teacher, labels), [student]
    )


def test_released_form_is_the_released_code_taken_literally() -> None:
    student, teacher, _ = batch(4, 4, size=(3, 2))
    same_value_and_gradient(
        lambda: icsd(student, teacher, form="released"), lambda: literal_release(student, teacher), [student]
    )


def test_two_classes_by_hand() -> None:
    student = torch.zeros(1, 2, 1, 2)  # G_1 = G_2 = (1/2, 1/2): no divergence
    teacher = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]]).view(1, 2, 1, 2)  # (3/4, 1/4), (1/2, 1/2)
    forth = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    back = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert icsd(student, teacher).item() == pytest.approx((forth**2 + back**2) / 4, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "form"),
    [
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


@pytest.mark.parametrize("scale", [1.0, 1e4, 2.0**16])  # of the loss; a GradScaler begins with the last
@pytest.mark.parametrize("form", ["paper", "released"])
def test_gradients_are_finite_with_void_at_every_loss_scale(form: str, scale: float, rng: torch.Generator) -> None:
    student, teacher = 8 * torch.randn(2, 2, 6, 8, 12, generator=rng)
    labels = torch.zeros(2, 8, 12, dtype=torch.long)
    labels[:, :, :4] = labels[0, :3] = 255
    student.requires_grad_()
    (icsd(student, teacher, labels, form=form) * scale).backward()
    assert student.grad.isfinite().all()
    assert (student.grad.movedim(1, -1)[labels == 255] == 0).all()
    assert (student.grad.movedim(1, -1)[labels != 255] != 0).any()


def test_form_is_one_of_two() -> None:
    with pytest.raises(ValueError, match='form must be "paper" or "released", got \'code\''):
        ICSD(form="code")
