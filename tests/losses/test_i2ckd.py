"""i2ckd: a number by hand, the equations taken literally, released numbers, then properties."""

import pytest
import torch
from torch import Tensor

from segdistill.losses import I2CKD, i2ckd
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("I2CKD", {"num_classes": 4}, nonzero_at_equality="the margin is larger than the distances"),
    Case("I2CKD", nonzero_at_equality="the margin is larger than the distances"),
    Case(
        "I2CKD",
        {"num_classes": 5, "across_processes": True},  # of one process: nothing is exchanged
        nonzero_at_equality="the margin is larger than the distances",
    ),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Evaluate Eq. 1-3, class by class."""
    present = [c for c in labels.unique().tolist() if c != 255]

    def prototype(features: Tensor, c: int) -> Tensor:  # Eq. 1
        images, rows, columns = (labels == c).nonzero(as_tuple=True)
        return sum(features[n, :, y, x] for n, y, x in zip(images, rows, columns, strict=True)) / len(images)

    pairs = []
    for c in present:
        for j in present:
            if j != c:
                p = prototype(student, c)
                near, far = ((p - prototype(teacher, k)).square().sum().sqrt() for k in (c, j))
                pairs.append((margin + near - far).clamp(min=0))  # Eq. 3
    return sum(pairs) / len(pairs)


@pytest.mark.parametrize("num_classes", [None, 8])
@pytest.mark.parametrize("margin", [0.0, 0.5, 2.0])
def test_is_the_equation_taken_literally(margin: float, num_classes: int | None) -> None:
    student, teacher, labels = batch(6, 6)
    same_value_and_gradient(
        lambda: i2ckd(student, teacher, labels, margin=margin, num_classes=num_classes),
        lambda: literal(student, teacher, labels, margin),
        [student],
    )


def test_two_classes_by_hand() -> None:
    student = torch.tensor([-1.0, 1.0, 1.0]).view(1, 1, 1, 3)  # prototypes 0 and 1
    teacher = torch.tensor([-2.0, 2.0, 3.0]).view(1, 1, 1, 3)  # prototypes 0 and 3
    labels = torch.tensor([[[0, 0, 1]]])
    # [1 + 0 - 3]+ = 0 and [1 + 2 - 1]+ = 2
    assert i2ckd(student, teacher, labels).item() == pytest.approx((0 + 2) / 2)


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
    [
        ({"margin": -1}, "margin must be >= 0, got -1"),
        ({"num_classes": 0}, "num_classes must be > 0, got 0"),
        ({"across_processes": True}, "across_processes needs num_classes"),
    ],
)
def test_hyperparameters(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        I2CKD(**wrong)
    with pytest.raises(ValueError, match=message):
        i2ckd(*batch(), **wrong)
