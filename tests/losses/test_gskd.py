"""gskd: a number by hand, Algorithm 1 taken literally, golden numbers, sampling, then properties."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import GSKD, gskd, sub_image_descriptor_kl
from segdistill.losses._class_positions import FIXED_CLASSES, row_orders, sample_positions
from tests.losses.case import Case
from tests.losses.references import same_value_and_gradient

DRAWS = "positions are ranked by a random number each, void or not"

CASES = [
    Case("GSKD", {"samples": 4, "stride": "classes"}, draws=DRAWS),
    Case("GSKD", {"samples": 4, "stride": 3, "sampling": "random", "temperature": 0.5}, draws=DRAWS),
]  # rows of the contract test


@pytest.fixture
def batch(rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Three images; 8 and 5 channels, 4 classes, some void."""
    student = torch.randn(3, 8, 6, 7, generator=rng, dtype=torch.float64).requires_grad_()
    teacher = torch.randn(3, 5, 6, 7, generator=rng, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 9, 255])[torch.randint(0, 5, (3, 6, 7), generator=rng)]
    return student, teacher, labels


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def literal(
    student: Tensor, teacher: Tensor, positions: list[int], orders: list[list[int]], stride: int, temperature: float
) -> Tensor:
    """Evaluate Algorithm 1 of the paper for one image (d, H, W); KL(teacher || student)."""

    def descriptors(features: Tensor) -> list[Tensor]:
        pixels = features.flatten(1).T
        rows = [pixels[p] / pixels[p].square().sum().sqrt() for p in positions]
        similarity = [[a @ b for b in rows] for a in rows]
        shuffled = [[row[j] for j in order] for row, order in zip(similarity, orders, strict=True)]
        wide = min(stride, len(rows))
        groups = [range(i * wide, (i + 1) * wide) for i in range(len(rows) // wide)]
        return [
            torch.softmax(torch.stack([row[j] for row in shuffled for j in group]) / temperature, dim=0)
            for group in groups
        ]

    pairs = list(zip(descriptors(student), descriptors(teacher), strict=True))
    return sum((q * (q / p).log()).sum() for p, q in pairs) / len(pairs)


@pytest.mark.parametrize(
    ("samples", "stride", "temperature"), [(4, 8, 1.0), (3, "classes", 1.0), (5, 3, 0.3), (2, 7, 1.0)]
)
@pytest.mark.parametrize("num_classes", [None, 10, FIXED_CLASSES, FIXED_CLASSES + 1])
def test_is_the_equation_taken_literally(
    batch: tuple[Tensor, Tensor, Tensor], samples: int, stride: int | str, temperature: float, num_classes: int | None
) -> None:
    student, teacher, labels = batch
    labels[1, 2:] = 255  # the images differ in their number of classes
    labels[1, :2] = 9
    labels[2, :, :4] = 2

    def reference() -> Tensor:
        draw, images = seeded(), []
        drawn = sample_positions(labels.flatten(1), samples, num_classes=num_classes, generator=draw)
        orders = row_orders(drawn.size, drawn.places.shape[1], generator=draw, device=labels.device)
        for s, t, image, positions, order in zip(student, teacher, labels, drawn.places, orders, strict=True):
            present = len(image[image != 255].unique())
            size, columns = samples * present, present if stride == "classes" else stride
            images.append(literal(s, t, positions[:size].tolist(), order[:size, :size].tolist(), columns, temperature))
        return sum(images) / len(images)

    same_value_and_gradient(
        lambda: gskd(
            student,
            teacher,
            labels,
            samples=samples,
            stride=stride,
            temperature=temperature,
            num_classes=num_classes,
            generator=seeded(),
        ),
        reference,
        [student],
    )


def test_two_samples_by_hand() -> None:
    student = torch.tensor([[2.0, 0.0], [3.0, 0.0]])  # similarities all 1: the uniform distribution
    teacher = torch.tensor([[1.0, 0.0], [0.0, 5.0]])  # similarities (1 0; 0 1)
    order = torch.tensor([[0, 1], [0, 1]])
    q = math.e / (math.e + 1)
    expected = q * math.log(2 * q) + (1 - q) * math.log(2 * (1 - q))
    # A column is (1, 0); the whole map twice that with half the probability: the same divergence.
    for stride in (1, 2, 3):
        assert sub_image_descriptor_kl(student, teacher, order, stride=stride).item() == pytest.approx(expected)
    # With the second row turned round, the first column is (1, 1): uniform as the student's.
    turned = torch.tensor([[0, 1], [1, 0]])
    assert sub_image_descriptor_kl(student, teacher, turned, stride=1).item() == pytest.approx(0, abs=1e-7)


def test_golden(golden: Callable[[str], dict[str, Tensor]]) -> None:
    data = golden("gskd_sid_case1")
    student = data["student_samples"].flatten(0, 1).requires_grad_()
    value = sub_image_descriptor_kl(student, data["teacher_samples"].flatten(0, 1), data["shuffle_map"], stride=4)
    value.backward()
    torch.testing.assert_close(value, data["paper_value"], rtol=1e-5, atol=0)
    # The released value is the paper's over the 16 x 4 entries of a group, and does not normalise the (unit)
    # samples: the part of its gradient along a sample falls away here.
    released = data["grad_student_samples"].flatten(0, 1) * 64
    unit = student.detach()
    expected = released - (released * unit).sum(1, keepdim=True) * unit
    torch.testing.assert_close(student.grad, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def drawn_from(labels: Tensor, samples: int, draw: torch.Generator, **options: str) -> Tensor:
    """Return the positions drawn in one image."""
    positions = sample_positions(labels[None], samples, generator=draw, **options)
    return positions.places[0, : positions.size[0]]


def test_sampling_is_balanced_and_repeats_only_where_it_must(rng: torch.Generator) -> None:
    labels = torch.tensor([0] * 100 + [5] * 8 + [7] * 3 + [255] * 50)[torch.randperm(161, generator=rng)]
    positions = drawn_from(labels, 8, rng)
    assert labels[positions].tolist() == [0] * 8 + [5] * 8 + [7] * 8
    many, exact, few = positions.view(3, 8)
    assert len(many.unique()) == 8
    assert sorted(exact.tolist()) == (labels == 5).nonzero().flatten().tolist()
    assert sorted(few[:3].tolist()) == (labels == 7).nonzero().flatten().tolist()
    assert few.tolist() == (few[:3].tolist() * 3)[:8]


@pytest.mark.parametrize("num_classes", [None, 10])
def test_each_image_is_sampled_from_its_own_classes(rng: torch.Generator, num_classes: int | None) -> None:
    labels = torch.tensor([[3] * 10 + [255] * 10, [255] * 20, [0, 9] * 10])
    positions = sample_positions(labels, 2, num_classes=num_classes, generator=rng)
    assert positions.classes.tolist() == [1, 0, 2]
    assert positions.size.tolist() == [2, 0, 4]
    assert positions.places.shape == (3, 2 * (num_classes or 2))
    assert labels[0, positions.places[0, :2]].tolist() == [3, 3]
    assert labels[2, positions.places[2, :4]].tolist() == [0, 0, 9, 9]


def test_every_position_of_a_class_has_the_same_chance() -> None:
    labels = torch.tensor([0, 1, 0, 0, 1, 0]).expand(2000, -1)
    drawn = sample_positions(labels, 1, generator=seeded()).places
    shares = torch.bincount(drawn.flatten(), minlength=6) / 2000
    torch.testing.assert_close(shares, torch.tensor([1, 2, 1, 1, 2, 1]) / 4, rtol=0, atol=0.05)


def test_random_sampling_draws_as_many_of_any_class(rng: torch.Generator) -> None:
    labels = torch.tensor([0] * 90 + [5] * 10 + [255] * 9)
    positions = drawn_from(labels, 8, rng, sampling="random")
    assert len(positions.unique()) == 16
    assert (labels[positions] == 5).sum() < 8
    few = drawn_from(labels[95:], 8, rng, sampling="random")
    assert few[:5].sort().values.tolist() == [0, 1, 2, 3, 4]
    assert few.tolist() == (few[:5].tolist() * 2)[:8]


def test_every_row_has_an_order_of_its_own_with_the_padding_last(rng: torch.Generator) -> None:
    orders = row_orders(torch.tensor([30, 20]), 30, generator=rng, device=torch.device("cpu"))
    assert orders.sort(dim=2).values.equal(torch.arange(30).expand(2, 30, 30))
    assert orders[1, :, :20].sort(dim=1).values.equal(torch.arange(20).expand(30, 20))
    assert len(orders[0].unique(dim=0)) == len(orders[1].unique(dim=0)) == 30


def test_every_image_of_the_batch_matters(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, labels = batch
    value = gskd(student, teacher, labels, generator=seeded())
    value.backward()
    for image in range(3):
        assert student.grad[image].abs().max() > 1e-6
        changed = student.detach().clone()
        changed[image] = changed[image].flip(0, 1)
        assert gskd(changed, teacher, labels, generator=seeded()).item() != pytest.approx(value.item(), rel=1e-6)


def test_gradient_descent_brings_the_student_to_the_teacher(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, labels = batch
    optimiser = torch.optim.Adam([student], lr=0.2)
    first = gskd(student, teacher, labels, generator=seeded()).item()
    for step in range(20):
        optimiser.zero_grad()
        gskd(student, teacher, labels, generator=seeded(step)).backward()
        optimiser.step()
    assert gskd(student, teacher, labels, generator=seeded()).item() < first / 4


def test_the_generator_decides(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    first, again, other = (GSKD(generator=seeded(seed))(*batch).item() for seed in (0, 0, 1))
    assert first == again
    assert first != pytest.approx(other, rel=1e-6)


def test_without_shuffling_the_columns_stay(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, labels = (x[:1] for x in batch)
    positions = drawn_from(labels.flatten(), 4, seeded())
    order = torch.arange(len(positions)).expand(len(positions), -1)
    rows = [x[0].flatten(1)[:, positions].mT for x in (student, teacher)]
    value = gskd(student, teacher, labels, samples=4, shuffle=False, generator=seeded())
    torch.testing.assert_close(value, sub_image_descriptor_kl(*rows, order, stride=8))


def test_without_groups_it_is_one_descriptor(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    whole = gskd(*batch, samples=4, group=False, generator=seeded(), shuffle=False)
    wide = gskd(*batch, samples=4, stride=10_000, generator=seeded(), shuffle=False)
    torch.testing.assert_close(whole, wide)


def test_random_sampling_works_without_labels(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, labels = batch
    loss = GSKD(sampling="random", stride=10, generator=seeded())
    one_class = GSKD(sampling="random", stride=10, generator=seeded())
    torch.testing.assert_close(loss(student, teacher), one_class(student, teacher, torch.zeros_like(labels)))


@pytest.mark.parametrize("kwargs", [{}, {"sampling": "random", "stride": "classes"}])
def test_labels_are_needed_to_know_the_classes(batch: tuple[Tensor, Tensor, Tensor], kwargs: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="needs labels"):
        gskd(*batch[:2], **kwargs)


def test_permutation_must_fit() -> None:
    samples = torch.zeros(4, 3)
    with pytest.raises(ValueError, match=r"\(4, 3\), \(4, 3\) and \(3, 3\)"):
        sub_image_descriptor_kl(samples, samples, torch.zeros(3, 3, dtype=torch.long), stride=2)
    with pytest.raises(ValueError, match=r"\(4, 3\), \(3, 3\) and \(4, 4\)"):
        sub_image_descriptor_kl(samples, samples[:3], torch.zeros(4, 4, dtype=torch.long), stride=2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"samples": 0}, "samples must be > 0, got 0"),
        ({"stride": 0}, 'stride must be > 0 or "classes", got 0'),
        ({"stride": "class"}, "stride must be a whole number or \"classes\", got 'class'"),
        ({"temperature": 0}, "temperature must be > 0, got 0"),
        ({"sampling": "even"}, 'sampling must be "class_balanced" or "random", got \'even\''),
    ],
)
def test_hyperparameters(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GSKD(**wrong)
