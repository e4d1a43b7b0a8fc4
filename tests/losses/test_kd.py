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
    Case("KD", {"temperature": 2.0, "standardize": True}),
]  # rows of the contract test


def scores(logits: Tensor) -> Tensor:
    """Return the z-scores of the logits of one pixel, class by class."""
    mean = sum(logits) / len(logits)
    deviation = (sum((z - mean) ** 2 for z in logits) / (len(logits) - 1)) ** 0.5
    return torch.stack([(z - mean) / deviation for z in logits])


def literal(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, standardize: bool) -> Tensor:
    """Return the mean of T^2 KL(q || p), pixel by pixel."""
    divergences = []
    for n, y, x in (labels != 255).nonzero().tolist():
        pixel = [z[n, :, y, x] for z in (student, teacher)]
        p, q = (torch.softmax((scores(z) if standardize else z) / temperature, dim=0) for z in pixel)
        divergences.append(temperature**2 * (q * (q / p).log()).sum())
    return torch.stack(divergences).mean()


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_is_the_equation_taken_literally(temperature: float, standardize: bool) -> None:
    student, teacher, labels = batch()
    same_value_and_gradient(
        lambda: kd(student, teacher, labels, temperature=temperature, standardize=standardize),
        lambda: literal(student, teacher, labels, temperature, standardize),
        [student],
    )


def test_two_classes_by_hand() -> None:
    student = torch.zeros(1, 2, 1, 1)  # p = (1/2, 1/2)
    teacher = torch.tensor([2 * math.log(4.0), 0.0]).view(1, 2, 1, 1)  # at temperature 2, q = (4/5, 1/5)
    expected = 4 * (0.8 * math.log(1.6) + 0.2 * math.log(0.4))
    assert kd(student, teacher, temperature=2.0).item() == pytest.approx(expected, rel=1e-6)


def test_standardized_classes_by_hand() -> None:
    student = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)  # mean 2, deviation 1: z-scores (-1, 0, 1)
    teacher = torch.tensor([50.0, 40.0, 30.0]).view(1, 3, 1, 1)  # mean 40, deviation 10: z-scores (1, 0, -1)
    p = [math.exp(z) / (math.exp(-1) + 1 + math.e) for z in (-1, 0, 1)]
    expected = (p[2] - p[0]) * math.log(p[2] / p[0])
    assert kd(student, teacher, standardize=True).item() == pytest.approx(expected, rel=1e-6)


def test_standardized_logits_have_no_scale(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    expected = kd(student, teacher, standardize=True)
    scale, shift = torch.rand(2, 2, 1, 3, 4, generator=rng) + 0.5
    torch.testing.assert_close(kd(student * scale + shift, teacher, standardize=True), expected)
    torch.testing.assert_close(kd(student, teacher * scale + shift, standardize=True), expected)


def test_equal_logits_of_all_classes_have_no_deviation_to_divide_by() -> None:
    classes = torch.arange(19.0).view(1, 19, 1)
    student = torch.zeros(1, 19, 1, 3)
    student[..., 1] = 0.3  # whose mean, rounded, is another number
    student[..., 2] = classes
    assert (student.mean(dim=1) != student[:, 0])[0, 0, 1], "the case would not tell"
    student.requires_grad_()
    value = kd(student, classes[..., None].expand(1, 19, 1, 3).flip(1), standardize=True)
    value.backward()
    assert value.isfinite()
    assert (student.grad[..., :2] == 0).all()
    assert student.grad[..., 2].abs().max() > 0
    assert student.grad.isfinite().all()


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
