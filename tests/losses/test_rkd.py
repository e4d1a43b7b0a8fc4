"""rkd: a triangle by hand, the released code's numbers, then properties of its own."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import RKD, rkd
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("RKD", images=4),
    Case("RKD", {"distance": 1.0, "angle": 2.0}, images=4),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor, distance: float, angle: float) -> Tensor:
    """Compare every two and every three embeddings; an embedding is the mean over an image's valid positions."""

    def huber(a: Tensor, b: Tensor) -> Tensor:
        apart = (a - b).abs()
        return apart - 0.5 if apart > 1 else apart**2 / 2

    def embeddings(features: Tensor) -> list[Tensor]:
        return [x[:, valid].mean(dim=1) for x, valid in zip(features, labels != 255, strict=True) if valid.any()]

    def distances(x: list[Tensor]) -> dict[tuple[int, ...], Tensor]:
        apart = {(i, j): (x[i] - x[j]).square().sum().sqrt() for i, j in itertools.permutations(range(len(x)), 2)}
        return {pair: d / (sum(apart.values()) / len(apart)) for pair, d in apart.items()}

    def cosines(x: list[Tensor]) -> dict[tuple[int, ...], Tensor]:
        def direction(i: int, j: int) -> Tensor:
            return (x[j] - x[i]) / (x[j] - x[i]).square().sum().sqrt()

        triples = itertools.product(range(len(x)), repeat=3)
        return {(i, j, k): direction(i, j) @ direction(i, k) for i, j, k in triples if i not in (j, k)}

    s, t = embeddings(student), embeddings(teacher)
    (ours, theirs), (our_angles, their_angles) = ([f(x) for x in (s, t)] for f in (distances, cosines))
    pairs = sum(huber(ours[pair], theirs[pair]) for pair in ours) / len(s) ** 2
    triples = sum(huber(our_angles[triple], their_angles[triple]) for triple in our_angles) / len(s) ** 3
    return distance * pairs + angle * triples


def test_is_the_equation_taken_literally() -> None:
    student, teacher, labels = batch(5, 7, images=5)
    same_value_and_gradient(
        lambda: rkd(student, teacher, labels, distance=3.0, angle=7.0),
        lambda: literal(student, teacher, labels, 3.0, 7.0),
        [student],
    )


def test_triangles_by_hand() -> None:
    student = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])  # sides 3, 4, 5, mean 4; cosines 0, 3/5, 4/5
    teacher = torch.eye(3)  # equal sides; cosines 1/2
    distances = 2 * (0.25**2 + 0 + 0.25**2) / 2 / 9
    angles = 2 * (0.5**2 + 0.1**2 + 0.3**2) / 2 / 27
    value = rkd(student, teacher, distance=3.0, angle=7.0)
    assert value.item() == pytest.approx(3 * distances + 7 * angles, rel=1e-5)


def test_golden(agrees_with_golden: Callable[..., None]) -> None:
    agrees_with_golden("rkd_case0", RKD(), kind="features")


def test_a_map_s_embedding_is_its_mean_over_valid_positions(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 4, 3, 2, 2, generator=rng)
    torch.testing.assert_close(rkd(student, teacher), rkd(student.mean((2, 3)), teacher.mean((2, 3))))
    labels = torch.zeros(4, 2, 2, dtype=torch.long)
    labels[:, 0] = 255
    torch.testing.assert_close(rkd(student, teacher, labels), rkd(student[:, :, 1].mean(2), teacher[:, :, 1].mean(2)))


def test_a_void_sample_is_as_good_as_absent(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 6, 3, generator=rng)
    value = rkd(student, teacher, torch.tensor([1, 255, 0, 3, 255, 2]))
    kept = [0, 2, 3, 5]
    torch.testing.assert_close(value, rkd(student[kept], teacher[kept]))


def test_an_offset_of_all_embeddings_costs_no_precision(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 5, 8, generator=rng)
    torch.testing.assert_close(rkd(student + 1e3, teacher), rkd(student, teacher), rtol=1e-3, atol=0)


def test_ignores_the_scale_of_the_embeddings(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 5, 8, generator=rng)
    torch.testing.assert_close(rkd(3 * student, teacher), rkd(student, teacher))


@pytest.mark.parametrize("images", [1, 2])
def test_fewer_than_three_images_have_nothing_to_compare(rng: torch.Generator, images: int) -> None:
    student, teacher = torch.randn(2, images, 8, generator=rng)
    value = rkd(student.requires_grad_(), teacher)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-9)
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("same", [2, 5])
def test_equal_embeddings_have_no_direction_and_no_gradient(rng: torch.Generator, same: int) -> None:
    student, teacher = torch.randn(2, 5, 8, generator=rng)
    student[:same] = student[0].clone()
    student.requires_grad_()
    value = rkd(student, teacher)  # of all equal, the released code's mean distance is the mean of nothing
    value.backward()
    assert value.isfinite()
    assert student.grad.abs().max() < 10


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20])
def test_embeddings_of_any_scale(scale: float, rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 4, 8, generator=rng)
    expected, gradient = value_and_gradient(student, teacher)
    value, scaled = value_and_gradient(scale * student, scale * teacher)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(scaled * scale, gradient, rtol=1e-4, atol=1e-5)


def value_and_gradient(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    student = student.clone().requires_grad_()
    value = rkd(student, teacher)
    (gradient,) = torch.autograd.grad(value, student)
    return value.detach(), gradient


def test_embeddings_that_agree_to_rounding_are_equal(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 20, 8, generator=rng)
    student[10:] = student[:10] + 1e-5 * torch.randn(10, 8, generator=rng)  # squared distances of 1e-9: noise
    student.requires_grad_()
    rkd(student, teacher).backward()
    assert student.grad.abs().max() < 1


def test_never_holds_the_differences_of_all_pairs(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 4, 512, generator=rng)
    kept: list[int] = []

    def pack(saved: Tensor) -> Tensor:
        kept.append(saved.numel())
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        rkd(student.requires_grad_(), teacher)
    assert max(kept) <= student.numel()


def test_three_dimensions_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\) or \(N, C\), got student \(2, 5, 4\)"):
        rkd(torch.zeros(2, 5, 4), torch.zeros(2, 5, 4))
