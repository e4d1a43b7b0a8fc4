"""kd: a number by hand, the released codes' numbers, then properties of its own."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import KD, kd
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("KD", {"temperature": 2.0}),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the mean of T^2 KL(q || p), pixel by pixel."""
    divergences = []
    for n, y, x in (labels != 255).nonzero().tolist():
        p, q = (torch.softmax(z[n, :, y, x] / temperature, dim=0) for z in (student, teacher))
        divergences.append(temperature**2 * (q * (q / p).log()).sum())
    return torch.stack(divergences).mean()


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_is_the_equation_taken_literally(temperature: float) -> None:
    student, teacher, labels = batch()
    same_value_and_gradient(
        lambda: kd(student, teacher, labels, temperature=temperature),
        lambda: literal(student, teacher, labels, temperature),
        [student],
    )


def test_two_classes_by_hand() -> None:
    student = torch.zeros(1, 2, 1, 1)  # p = (1/2, 1/2)
    teacher = torch.tensor([2 * math.log(4.0), 0.0]).view(1, 2, 1, 1)  # at temperature 2, q = (4/5, 1/5)
    expected = 4 * (0.8 * math.log(1.6) + 0.2 * math.log(0.4))
    assert kd(student, teacher, temperature=2.0).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("name", "temperature"), [("kd_case1", 1), ("hinton_kd_T4_case0", 4)])
def test_golden(agrees_with_golden: Callable[..., None], name: str, temperature: float) -> None:
    agrees_with_golden(name, KD(temperature=temperature))


@pytest.mark.parametrize(("name", "classes"), [("aicsd_kd_mean_case0", 5), ("aicsd_kd_mean_c21_case0", 21)])
def test_aicsd_code_averages_over_the_classes_too(
    agrees_with_golden: Callable[..., None], name: str, classes: int
) -> None:
    agrees_with_golden(name, kd, times=1 / classes)


def test_guided_distillation_is_kd_where_the_teacher_is_right(golden: Callable[[str], dict[str, Tensor]]) -> None:
    data = golden("channel_distillation_gkd_case0")
    student, teacher = data["student_logits"].requires_grad_(), data["teacher_logits"]
    right = teacher.argmax(dim=1) == data["labels"]
    assert 0 < right.sum() < len(right), "the case would not tell"
    value = kd(student, teacher, data["labels"].where(right, 255), temperature=data["T"].item())
    value.backward()
    torch.testing.assert_close(value, data["loss"], rtol=1e-9, atol=0)
    torch.testing.assert_close(student.grad, data["grad_student_logits"], rtol=1e-9, atol=1e-12)
    # The released code divides by zero where the teacher is wrong everywhere.
    assert kd(student, teacher, torch.full_like(data["labels"], 255)) == 0


def test_pixels_are_samples(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 3, 5, 4, 4, generator=rng)
    labels = torch.randint(0, 5, (3, 4, 4), generator=rng)
    labels[:, 0] = 255
    rows: list[Tensor] = [x.movedim(1, -1).reshape(-1, 5) for x in (student, teacher)]
    torch.testing.assert_close(kd(student, teacher, labels), kd(*rows, labels.flatten()))


def test_ignores_a_constant_added_to_all_classes_of_a_pixel(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    shift = torch.randn(2, 1, 3, 4, generator=rng)
    torch.testing.assert_close(kd(student + shift, teacher - shift), kd(student, teacher))


def test_temperature_squared_keeps_the_gradient_s_size(rng: torch.Generator) -> None:
    def gradient(temperature: float) -> float:
        student = torch.zeros(1, 5, 1, 1, requires_grad=True)
        kd(student, teacher, temperature=temperature).backward()
        return student.grad.norm().item()

    teacher = torch.randn(1, 5, 1, 1, generator=rng)
    assert gradient(200.0) == pytest.approx(gradient(100.0), rel=0.02)


def test_three_dimensions_are_an_error() -> None:
    x = torch.zeros(2, 5, 4)
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\) or \(N, C\), got student \(2, 5, 4\)"):
        kd(x, x)


@pytest.mark.parametrize("temperature", [0, -1.0])
def test_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature must be > 0, got {temperature}"):
        KD(temperature=temperature)
