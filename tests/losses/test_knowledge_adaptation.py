"""knowledge_adaptation: numbers by hand, torchdistill's numbers, the equations written out, then the autoencoder."""

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import KnowledgeAdaptation
from segdistill.losses._batch_norm import BatchNorm
from segdistill.losses._ops import unit
from segdistill.losses.knowledge_adaptation import _direction_distance, _root, _squared_row_distances
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case(
        "KnowledgeAdaptation",
        {"student_channels": 6, "teacher_channels": 6, **norms},
        nonzero_at_equality="an adapter stands between the two",
        sees_void="convolutions see across the edge, and batch statistics are of all positions",
    )
    for norms in ({}, {"p": 2, "q": 1})
]  # rows of the contract test

Golden = Callable[[str], dict[str, Tensor]]


def small(**kwargs: float) -> KnowledgeAdaptation:
    torch.manual_seed(0)
    return KnowledgeAdaptation(student_channels=5, teacher_channels=6, **kwargs)


def maps(rng: torch.Generator, height: int = 9, width: int = 16, images: int = 2) -> tuple[Tensor, Tensor]:
    """Features of the student and of the teacher."""
    student, teacher = (torch.randn(images, c, height, width, generator=rng) for c in (5, 6))
    return student.requires_grad_(), teacher


def literal(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    state: dict[str, Tensor],
    weights: tuple[float, float],
    norms: tuple[int, int] = (1, 2),
) -> Tensor:
    """Return both terms: every cell of the code, and every row of the affinities of every image."""
    p, q = norms

    def direction(vector: Tensor, norm: int = 2) -> Tensor:
        return vector / (vector.abs() ** norm).sum() ** (1 / norm)

    valid = labels != 255
    adapted = F.conv2d(student * valid[:, None], state["adapter.0.weight"], padding=1)
    scale, shift = state["adapter.1.weight"], state["adapter.1.bias"]
    adapted = F.batch_norm(adapted, None, None, scale, shift, training=True).relu()
    code = teacher
    for number in range(3):  # the autoencoder has seen nothing yet: its running means are 0, its variances 1
        code = F.conv2d(code, state[f"encoder.{number}.0.weight"], stride=2, padding=1)
        code = (code / (1 + 1e-5) ** 0.5).relu()
    (height, width), (rows, columns) = labels.shape[1:], code.shape[2:]
    cells, affinities = [], []
    for n, seen in enumerate(valid):
        for i, j in itertools.product(range(rows), range(columns)):
            window = (
                slice(i * height // rows, -(-(i + 1) * height // rows)),
                slice(j * width // columns, -(-(j + 1) * width // columns)),
            )
            if seen[window].any():
                ours = adapted[n, :, *window][:, seen[window]].mean(dim=1)
                difference = direction(ours, q) - direction(code[n, :, i, j], q)
                cells.append((difference.abs() ** p).sum() ** (1 / p))
        places = seen.nonzero().tolist()
        s, t = ([direction(x[n, :, i, j]) for i, j in places] for x in (student, teacher))
        differences = [[(s[i] @ s[j] - t[i] @ t[j]) / len(s) for j in range(len(s))] for i in range(len(s))]
        if places:
            affinities.append(sum(torch.stack(row).square().sum().sqrt() for row in differences))
    return weights[0] * sum(cells) / len(cells) + weights[1] * sum(affinities) / len(affinities)


@pytest.mark.parametrize(("size", "norms"), [((3, 4), (1, 2)), ((9, 5), (1, 2)), ((9, 5), (2, 1)), ((3, 4), (3, 3))])
def test_is_the_equation_taken_literally(size: tuple[int, int], norms: tuple[int, int]) -> None:
    student, teacher, labels = batch(5, 6, size=size)
    loss = small(adapt_weight=3.0, affinity_weight=2.0, p=norms[0], q=norms[1]).double()
    state = dict(loss.named_parameters())
    same_value_and_gradient(
        lambda: loss(student, teacher, labels),
        lambda: literal(student, teacher, labels, state, (3.0, 2.0), norms),
        [student, *loss.adapter.parameters()],
        relative=1e-7,  # a root of rounding
    )


def test_directions_by_hand() -> None:
    student = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    teacher = torch.tensor([0.0, 2.0]).view(1, 2, 1, 1)
    assert _direction_distance(student, teacher).item() == pytest.approx(0.6 + 0.2)
    by_sum = _direction_distance(student, teacher, p=2, q=1)  # (3/7, 4/7) and (0, 1)
    assert by_sum.item() == pytest.approx(2**0.5 * 3 / 7)


def test_affinity_by_hand() -> None:
    loss = small(adapt_weight=0)
    student, teacher = torch.zeros(1, 5, 1, 2), torch.zeros(1, 6, 1, 2)
    student[0, 0] = torch.tensor([2.0, 3.0])  # the same direction: the cosine is 1
    teacher[0, 0, 0, 0] = teacher[0, 1, 0, 1] = 5.0  # it is 0
    assert loss(student, teacher).item() == pytest.approx(2 * 1 / 2)  # two rows, each with one entry off by 1 / n


def test_golden_adaptation_of_the_map_as_one_vector(golden: Golden) -> None:
    data = golden("ka_adapt_torchdistill_case0")
    student = data["student_features"].requires_grad_()
    size = student[0].numel()
    vectors = (x.reshape(2, size, 1, 1) for x in (student, data["teacher_features"]))
    value = _direction_distance(*vectors).mean() / size
    torch.testing.assert_close(value, data["loss"], rtol=1e-9, atol=0)
    value.backward()
    expected = data["grad_student_features"]
    torch.testing.assert_close(student.grad, expected, rtol=0, atol=1e-9 * expected.abs().max().item())


def test_golden_affinity_of_every_channel(golden: Golden) -> None:
    data = golden("ka_affinity_torchdistill_case0")
    student = data["student_features"].requires_grad_()
    images, _, height, width = student.shape
    vectors = (unit(x.reshape(-1, 1, height * width), dim=2) for x in (student, data["teacher_features"]))
    value = _root(_squared_row_distances(*vectors).sum(dim=1)).sum() / (height * width) / images
    torch.testing.assert_close(value, data["loss"], rtol=1e-9, atol=0)
    value.backward()
    expected = data["grad_student_features"]
    torch.testing.assert_close(student.grad, expected, rtol=0, atol=1e-9 * expected.abs().max().item())


@pytest.mark.parametrize("positions", [6, 40])
def test_rows_are_those_of_the_affinities(rng: torch.Generator, positions: int) -> None:
    s, t = (torch.randn(2, d, positions, generator=rng, dtype=torch.float64) for d in (5, 7))
    s.requires_grad_()
    value = _squared_row_distances(s, t)
    expected = (torch.einsum("nci,ncj->nij", s, s) - torch.einsum("nci,ncj->nij", t, t)).square().sum(dim=2)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(x.sqrt().sum(), s) for x in (value, expected)))


def test_a_void_image_leaves_the_affinity_to_the_others(rng: torch.Generator) -> None:
    student, teacher = maps(rng, images=3)
    labels = torch.zeros(3, 9, 16, dtype=torch.long)
    labels[1] = 255
    loss, others = small(adapt_weight=0), [0, 2]
    torch.testing.assert_close(loss(student, teacher, labels), loss(student[others], teacher[others]))


def test_adaptation_averages_valid_positions(rng: torch.Generator) -> None:
    student, teacher = maps(rng, 8, 16)
    loss = small(affinity_weight=0, adapt_weight=1).eval()
    labels = torch.zeros(2, 8, 16, dtype=torch.long)
    labels[0, :, :8] = 255  # one position of the code has nothing
    labels[0, 2:, 8:] = 255  # and the other a quarter
    ours = loss.adapter(student * (labels == 0)[:, None])
    means = torch.stack([ours[0, :, :2, 8:].mean(dim=(1, 2)), *F.avg_pool2d(ours[1:], 8)[0, :, 0].T])
    code = loss.encoder(teacher)[:, :, 0].mT.flatten(0, 1)[1:]
    expected = (F.normalize(means, dim=1) - F.normalize(code, dim=1)).abs().sum(dim=1).mean()
    torch.testing.assert_close(loss(student, teacher, labels), expected)


def test_the_weights_are_the_paper_s(rng: torch.Generator) -> None:
    student, teacher = maps(rng)
    adaptation, affinity = small(adapt_weight=1, affinity_weight=0), small(adapt_weight=0, affinity_weight=1)
    expected = 50 * adaptation(student, teacher) + affinity(student, teacher)
    torch.testing.assert_close(small()(student, teacher), expected)


def test_what_the_student_says_of_void_is_not_seen(rng: torch.Generator) -> None:
    student, teacher = maps(rng)
    labels = torch.zeros(2, 9, 16, dtype=torch.long)
    labels[0, :5] = labels[1] = 255
    other = student.masked_fill((labels == 255)[:, None], 7.0)
    torch.testing.assert_close(small()(other, teacher, labels), small()(student, teacher, labels))


@pytest.mark.parametrize("size", [3, 12])
def test_equal_affinities_have_no_gradient_and_not_nan(rng: torch.Generator, size: int) -> None:
    student = torch.randn(2, 5, size, size, generator=rng, requires_grad=True)
    teacher = torch.cat([student.detach(), torch.zeros(2, 1, size, size)], dim=1)
    value = small(adapt_weight=0)(student, teacher)
    value.backward()
    assert value < 0.01  # rounding, under a root
    assert student.grad.abs().max() < 0.01


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (9, 17)])
def test_the_objective_written_out(rng: torch.Generator, size: tuple[int, int]) -> None:
    _, teacher = maps(rng, *size)
    loss = small().eval()  # by running statistics
    code = loss.encoder(teacher)
    assert code.shape[2:] == (-(-size[0] // 8), -(-size[1] // 8))
    decoded = loss.decoder(code)[..., : size[0], : size[1]]
    expected = F.mse_loss(decoded, teacher) + 1e-7 * code.abs().sum(dim=(1, 2, 3)).mean()
    torch.testing.assert_close(loss.inner_objective(None, teacher), expected, rtol=1e-7, atol=0)


def test_the_penalty_is_there(rng: torch.Generator) -> None:
    _, teacher = maps(rng)
    loss = small().double().eval()
    code = loss.encoder(teacher.double())
    reconstruction = F.mse_loss(loss.decoder(code)[..., :9, :16], teacher.double())
    penalty = loss.inner_objective(None, teacher.double()) - reconstruction
    assert penalty.item() == pytest.approx(1e-7 * code.abs().sum().item() / 2)


def test_the_autoencoder_normalises_by_the_batch_in_its_own_stage_only(rng: torch.Generator) -> None:
    student, teacher = maps(rng)
    loss = small().train()
    norms = [m for part in (loss.encoder, loss.decoder) for m in part.modules() if isinstance(m, BatchNorm)]
    assert len(norms) == 5
    loss(student, teacher)
    assert {int(m.num_batches_tracked) for m in norms} == {0}
    loss.inner_objective(None, teacher)
    assert {int(m.num_batches_tracked) for m in norms} == {1}
    loss(student, teacher)
    loss.eval().inner_objective(None, teacher)
    assert {int(m.num_batches_tracked) for m in norms} == {1}


def test_the_adapter_learns_with_the_student_and_is_not_its_own(rng: torch.Generator) -> None:
    loss = small()
    own = {id(p) for p in loss.inner_parameters()}
    assert [name for name, p in loss.named_parameters() if id(p) not in own] == [
        "adapter.0.weight",
        "adapter.1.weight",
        "adapter.1.bias",
    ]
    loss(*maps(rng)).backward()
    assert all(p.grad.abs().sum() > 0 for p in loss.adapter.parameters())


@pytest.mark.parametrize(("channels", "given", "width"), [(6, None, 3), (1, None, 1), (6, 4, 4)])
def test_width_of_the_code(channels: int, given: int | None, width: int) -> None:
    loss = KnowledgeAdaptation(student_channels=2, teacher_channels=channels, latent_channels=given)
    assert loss.encoder(torch.zeros(2, channels, 8, 8)).shape[1] == width
    assert loss.adapter(torch.zeros(2, 2, 8, 8)).shape[1] == width


def test_the_optimiser_is_as_published() -> None:
    (group,) = small().inner_optimizer().param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.9, 1e-4)


def test_errors(rng: torch.Generator) -> None:
    with pytest.raises(ValueError, match="latent_channels must be > 0, got 0"):
        small(latent_channels=0)
    with pytest.raises(ValueError, match="must be >= 0, got -1"):
        small(adapt_weight=-1)
    _, teacher = maps(rng)
    with pytest.raises(ValueError, match=r"student_channels=5 and teacher_channels=6, got student \(2, 6.*\(2, 6"):
        small()(teacher, teacher)
