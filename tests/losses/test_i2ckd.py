"""i2ckd: a number by hand, the equations taken literally, released numbers, then properties."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import I2CKD, i2ckd
from tests.losses.case import Case

CASES = [
    Case("I2CKD", {"num_classes": 4}, nonzero_at_equality="the margin is larger than the distances"),
    Case("I2CKD", nonzero_at_equality="the margin is larger than the distances"),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor, margin: float) -> float:
    """Eq. 1-3, class by class."""
    present = [c for c in labels.unique().tolist() if c != 255]

    def prototype(features: Tensor, c: int) -> Tensor:  # Eq. 1
        images, rows, columns = (labels == c).nonzero(as_tuple=True)
        return sum(features[n, :, y, x] for n, y, x in zip(images, rows, columns, strict=True)) / len(images)

    total = 0.0
    for c in present:
        for j in present:
            if j != c:
                p = prototype(student, c)
                near, far = ((p - prototype(teacher, k)).norm().item() for k in (c, j))
                total += max(0.0, margin + near - far)  # Eq. 3
    return total / (len(present) * (len(present) - 1))


def test_two_classes_by_hand() -> None:
    student = torch.tensor([-1.0, 1.0, 1.0]).view(1, 1, 1, 3)  # prototypes 0 and 1
    teacher = torch.tensor([-2.0, 2.0, 3.0]).view(1, 1, 1, 3)  # prototypes 0 and 3
    labels = torch.tensor([[[0, 0, 1]]])
    # [1 + 0 - 3]+ = 0 and [1 + 2 - 1]+ = 2
    assert i2ckd(student, teacher, labels).item() == pytest.approx((0 + 2) / 2)


@pytest.mark.parametrize("margin", [0.0, 0.5, 2.0])
def test_matches_the_equations(rng: torch.Generator, margin: float) -> None:
    student, teacher = torch.randn(2, 2, 6, 4, 5, generator=rng, dtype=torch.float64)
    labels = torch.tensor([0, 2, 3, 7, 255])[torch.randint(0, 5, (2, 4, 5), generator=rng)]
    expected = literal(student, teacher, labels, margin)
    for num_classes in (None, 8):
        value = i2ckd(student, teacher, labels, margin=margin, num_classes=num_classes).item()
        assert value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("margin", [0, 1])
def test_golden(agrees_with_golden: Callable[..., None], margin: int) -> None:
    name = f"PAPER_i2ckd_eq1-3_margin{margin}_case0"
    agrees_with_golden(name, I2CKD(margin=margin), kind="features", labels=True)


def test_one_class_has_nothing_to_be_far_from(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 6, 4, 5, generator=rng)
    student.requires_grad_()
    value = i2ckd(student, teacher, torch.full((2, 4, 5), 3))
    value.backward()
    assert value == 0
    assert student.grad.abs().sum() == 0


def test_gradient_is_finite_where_prototypes_coincide(rng: torch.Generator) -> None:
    student = torch.randn(2, 6, 4, 5, generator=rng, requires_grad=True)
    labels = torch.randint(0, 3, (2, 4, 5), generator=rng)
    i2ckd(student, student.clone(), labels).backward()
    assert student.grad.isfinite().all()
    assert student.grad.abs().sum() > 0


def test_labels_from_num_classes_up_do_not_count(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 6, 4, 5, generator=rng)
    labels = torch.randint(0, 5, (2, 4, 5), generator=rng)
    void = labels.where(labels < 3, 255)
    torch.testing.assert_close(i2ckd(student, teacher, labels, num_classes=3), i2ckd(student, teacher, void))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"margin": -1}, "margin must be >= 0, got -1"), ({"num_classes": 0}, "num_classes must be > 0, got 0")],
)
def test_hyperparameters(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        I2CKD(**wrong)
