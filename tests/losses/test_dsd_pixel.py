"""dsd_pixel: a number by hand, the released code's numbers, then properties of its own."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import DSDCategory, DSDPixel, dsd_pixel
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("DSDPixel", maps=True),
]  # rows of the contract test

Maps = tuple[Tensor, ...]


@pytest.fixture
def maps(rng: torch.Generator) -> tuple[Maps, Maps]:
    """Three maps of the student and three of the teacher, of different widths."""
    student = tuple(torch.randn(2, d, 3, 4, generator=rng, requires_grad=True) for d in (5, 6, 5))
    teacher = tuple(torch.randn(2, d, 3, 4, generator=rng) for d in (5, 9, 5))
    return student, teacher


def literal(student: Maps, teacher: Maps, labels: Tensor) -> Tensor:
    """Compare every pair of maps, image by image."""

    def direction(vector: Tensor) -> Tensor:
        return vector / vector.square().sum().sqrt()

    distances = []
    for n, valid in enumerate(labels != 255):
        if valid.any():
            ours, theirs = (
                [direction(x[n][:, valid].square().mean(dim=0)) for x in maps] for maps in (student, teacher)
            )
            for a, b in itertools.combinations(range(len(student)), 2):
                s, t = (direction(q[b] - q[a]) for q in (ours, theirs))
                distances.append((s - t).square().mean())
    return torch.stack(distances).mean()


def test_is_the_equation_taken_literally() -> None:
    students, teachers, labels = zip(*(batch(*channels) for channels in ((5, 5), (4, 7), (6, 6))), strict=True)
    same_value_and_gradient(
        lambda: dsd_pixel(students, teachers, labels[0]), lambda: literal(students, teachers, labels[0]), students
    )


def test_two_positions_by_hand() -> None:
    here, there = torch.tensor([[2.0, 0.0], [0.0, 3.0]]).view(2, 1, 1, 1, 2)  # attention (1, 0) and (0, 1)
    # Residuals (-1, 1) and (1, -1), of length sqrt 2: each position differs by 2 / sqrt 2.
    assert dsd_pixel((here, there), (there, here)).item() == pytest.approx(2)
    assert dsd_pixel((here, there), (here, there)).item() == 0


def check(value: Tensor, expected: Tensor, gradients: list[tuple[Tensor, Tensor]]) -> None:
    """At the precision of the numbers."""
    double = value.dtype == torch.float64
    torch.testing.assert_close(value, expected, rtol=1e-9 if double else 1e-5, atol=0)
    for got, wanted in gradients:
        largest = wanted.abs().max().item()
        torch.testing.assert_close(got, wanted, rtol=0, atol=(1e-9 if double else 1e-4) * largest)


def test_golden(golden: Callable[[str], dict[str, Tensor]]) -> None:
    data = golden("dsd_psd_case1")
    names = ("aux_logits", "features", "logits")
    student = tuple(data[f"student_{name}"].requires_grad_() for name in names)
    value = DSDPixel()(student, tuple(data[f"teacher_{name}"] for name in names))
    value.backward()
    check(value, data["loss"], [(x.grad, data[f"grad_student_{n}"]) for x, n in zip(student, names, strict=True)])


def test_golden_beside_the_other_term(golden: Callable[[str], dict[str, Tensor]]) -> None:
    data = golden("dsd_cirkd_case0")
    names = ("features_1", "features_2", "logits")
    student = tuple(data[f"student_{name}"].requires_grad_() for name in names)
    teacher = tuple(data[f"teacher_{name}"] for name in names)
    pixel, category = DSDPixel()(student, teacher), DSDCategory()(student[2], teacher[2])
    check(pixel, data["loss_psd"], [])
    check(category, data["loss_csd"], [])
    (pixel + category).backward()
    gradients = [(x.grad, data[f"grad_student_{n}"]) for x, n in zip(student, names, strict=True)]
    check(pixel + category, data["loss"], gradients)


@pytest.mark.parametrize("rounding", [0.0, 1e-7])
def test_maps_that_coincide_leave_the_others_their_gradient(maps: tuple[Maps, Maps], rounding: float) -> None:
    # A student without auxiliary head has its logits twice. Divided by |q - q| = 0, or by rounding, the pair's
    # gradient of 1e24 or 1e7 would be all that is left.
    (logits, head, _), teacher = maps
    again = logits * (1 + rounding * torch.arange(12).view(3, 4))
    dsd_pixel((logits, head, again), teacher).backward()
    with_pair = [logits.grad.clone(), head.grad.clone()]
    logits.grad = head.grad = None
    two_pairs = dsd_pixel((logits, head), teacher[:2]) + dsd_pixel((head, logits), teacher[1:])
    (two_pairs / 3).backward()
    for got, expected in zip(with_pair, (logits.grad, head.grad), strict=True):
        assert expected.abs().max() > 0
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_ignores_the_scale_of_every_map(maps: tuple[Maps, Maps]) -> None:
    student, teacher = maps
    scaled = tuple(x * scale for x, scale in zip(student, (3.0, 0.2, -1.0), strict=True))
    torch.testing.assert_close(dsd_pixel(scaled, teacher), dsd_pixel(student, teacher))


def test_order_of_the_maps_does_not_matter_as_long_as_it_is_the_same(maps: tuple[Maps, Maps]) -> None:
    student, teacher = maps
    torch.testing.assert_close(dsd_pixel(student[::-1], teacher[::-1]), dsd_pixel(student, teacher))
    assert dsd_pixel(student[::-1], teacher) != dsd_pixel(student, teacher)


def test_only_tuples_of_two_or_more(maps: tuple[Maps, Maps]) -> None:
    student, teacher = maps
    with pytest.raises(ValueError, match="student must be a tuple of two or more maps, got a tuple of 1"):
        dsd_pixel(student[:1], teacher[:1])
    with pytest.raises(ValueError, match="teacher must be a tuple .* got a Tensor; give the Term a list of features"):
        dsd_pixel(student, teacher[0])
    with pytest.raises(ValueError, match="equally many maps, got 3 and 2"):
        dsd_pixel(student, teacher[:2])


def test_maps_share_their_size(maps: tuple[Maps, Maps]) -> None:
    small = tuple(x[..., :2] for x in (maps[0][1], maps[1][1]))
    with pytest.raises(ValueError, match=r"same N, H and W, got \(2, 5, 3, 4\) and \(2, 6, 3, 2\); give the Term"):
        dsd_pixel((maps[0][0], small[0]), (maps[1][0], small[1]))
