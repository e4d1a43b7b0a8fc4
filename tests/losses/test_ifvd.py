"""ifvd: a number by hand, the equation taken literally, released numbers, then properties."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import IFVD, ifvd
from segdistill.losses._ops import labels_at
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("IFVD"),
    Case("IFVD", {"num_classes": 4}),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Compare position by position."""

    def similarity(features: Tensor, n: int, y: int, x: int) -> Tensor:
        center = features[n, :, labels[n] == labels[n, y, x]].mean(dim=1)
        return torch.cosine_similarity(features[n, :, y, x], center, dim=0)

    positions = (labels != 255).nonzero().tolist()
    return torch.stack([(similarity(student, *i) - similarity(teacher, *i)).square() for i in positions]).mean()


@pytest.mark.parametrize("num_classes", [None, 8])
def test_is_the_equation_taken_literally(num_classes: int | None) -> None:
    student, teacher, labels = batch(6, 7)  # the gradient flows through the centers as well
    same_value_and_gradient(
        lambda: ifvd(student, teacher, labels, num_classes=num_classes),
        lambda: literal(student, teacher, labels),
        [student],
    )


def test_two_positions_by_hand() -> None:
    student = torch.tensor([[2.0, 0.0], [0.0, 2.0]]).view(1, 2, 1, 2)  # centre (1, 1): both at 45 degrees
    teacher = torch.tensor([[2.0, 4.0]]).view(1, 1, 1, 2)  # both along the centre
    labels = torch.zeros(1, 1, 2, dtype=torch.long)
    assert ifvd(student, teacher, labels).item() == pytest.approx((0.5**0.5 - 1) ** 2)


def test_golden(agrees_with_golden: Callable[..., None], golden: Callable[[str], dict[str, Tensor]]) -> None:
    data = golden("ifvd_case1")
    valid = labels_at(data["labels"], data["student_features"]) != 255
    share = valid.float().mean().item()  # the released mean has the void positions in its divisor
    assert share < 1
    agrees_with_golden("ifvd_case1", IFVD(num_classes=5), kind="features", labels=True, times=share)


def test_centres_are_of_one_image(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 6, 4, 4, generator=rng)
    labels = torch.randint(0, 3, (2, 4, 4), generator=rng)
    alone = [ifvd(student[i : i + 1], teacher[i : i + 1], labels[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(ifvd(student, teacher, labels), torch.stack(alone).mean())


def test_ignores_the_length_of_student_and_teacher(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 6, 4, 4, generator=rng)
    labels = torch.randint(0, 3, (2, 4, 4), generator=rng)
    torch.testing.assert_close(ifvd(7 * student, 0.1 * teacher, labels), ifvd(student, teacher, labels))


def test_a_class_of_one_position_has_no_variation(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 1, 6, 2, 2, generator=rng)
    assert ifvd(student, teacher, torch.arange(4).view(1, 2, 2)).item() == pytest.approx(0, abs=1e-12)


def test_labels_from_num_classes_up_do_not_count(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 6, 4, 5, generator=rng)
    labels = torch.randint(0, 5, (2, 4, 5), generator=rng)
    void = labels.where(labels < 3, 255)
    torch.testing.assert_close(ifvd(student, teacher, labels, num_classes=3), ifvd(student, teacher, void))


def test_num_classes_must_be_positive() -> None:
    with pytest.raises(ValueError, match="num_classes must be > 0, got 0"):
        IFVD(num_classes=0)
