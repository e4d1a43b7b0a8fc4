"""crd: a number by hand, the released code's numbers, then what the memories hold."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import CRD
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case(
        "CRD",
        {"student_channels": 6, "teacher_channels": 6, "size": 10, "negatives": 4, "dim": 5},
        nonzero_at_equality="the embeddings are random",
    ),
]  # rows of the contract test


def small(**kwargs: Any) -> CRD:
    """Three channels, embeddings of four, queues of five: all of them negatives."""
    torch.manual_seed(0)
    return CRD(**{"student_channels": 3, "teacher_channels": 3, "size": 5, "negatives": 5, "dim": 4} | kwargs)


def embeddings(loss: CRD, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    pairs = ((loss.student_embedding, student), (loss.teacher_embedding, teacher))
    return tuple(F.normalize(layer(x), dim=1) for layer, x in pairs)


def literal(
    student: Tensor, teacher: Tensor, labels: Tensor, state: dict[str, Tensor], size: int, temperature: float
) -> Tensor:
    """Compare every image with a valid position with the other side's and with every entry of the queue."""

    def embedded(features: Tensor, side: str) -> list[Tensor]:
        found = []
        for maps, valid in zip(features, labels != 255, strict=True):
            if valid.any():
                mean = maps[:, valid].mean(dim=1)
                x = state[f"{side}_embedding.weight"] @ mean + state[f"{side}_embedding.bias"]
                found.append(x / x.square().sum().sqrt())
        return found

    s, t = embedded(student, "student"), embedded(teacher, "teacher")
    total = 0
    for own, other, queue in ((s, t, state["teacher_memory"]), (t, s, state["student_memory"])):
        e = [[(own[i] @ u / temperature).exp() for u in (other[i], *queue)] for i in range(len(own))]
        partition = size * torch.stack([x for row in e for x in row]).mean().detach()
        noise = len(queue) / size  # K / n
        for positive, *negatives in e:
            total = total - (positive / partition / (positive / partition + noise)).log()
            total = total - sum((noise / (x / partition + noise)).log() for x in negatives)
    return total / len(s)


def test_is_the_equation_taken_literally() -> None:
    student, teacher, labels = batch(3, 3, images=4)
    loss = small(temperature=0.3).double()
    memories = {name: getattr(loss, name).clone() for name in ("student_memory", "teacher_memory")}
    state = dict(loss.named_parameters()) | memories  # the batch enters the memories afterwards
    same_value_and_gradient(
        lambda: loss(student, teacher, labels),
        lambda: literal(student, teacher, labels, state, 5, 0.3),
        [student, *loss.parameters()],
        relative=1e-6,  # the loss adds 1e-7 inside its logarithms
    )


def test_one_image_by_hand() -> None:
    loss = CRD(student_channels=2, teacher_channels=2, size=4, negatives=1, dim=2, temperature=0.5).eval()
    for layer in (loss.student_embedding, loss.teacher_embedding):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    loss.student_memory.copy_(torch.tensor([[1.0, 0.0]]).expand(4, 2))
    loss.teacher_memory.copy_(torch.tensor([[0.0, 1.0]]).expand(4, 2))
    loss.partition.copy_(torch.tensor([10.0, 20.0]))
    # The student at (1, 0), the teacher at (0.6, 0.8): the positives have 0.6, the negatives 0 and 0.6. K / n = 1 / 4.
    expected = 0.0
    for z, own, other in ((10, 0.6, 0.0), (20, 0.6, 0.6)):
        p, q = (math.exp(similarity / 0.5) / z for similarity in (own, other))
        expected -= math.log(p / (p + 0.25)) + math.log(0.25 / (q + 0.25))
    value = loss(torch.tensor([[3.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_golden(golden: Callable[[str], dict[str, Tensor]], agrees_with_golden: Callable[..., None]) -> None:
    data = golden("crd_case0")
    loss = CRD(student_channels=16, teacher_channels=24, size=20, negatives=6, dim=8).double()
    for side in "st":
        layer = loss.student_embedding if side == "s" else loss.teacher_embedding
        layer.weight.data, layer.bias.data = (data[f"w_embed_{side}__linear__{name}"] for name in ("weight", "bias"))
    loss.student_memory.copy_(data["w_contrast__memory_v1"])
    loss.teacher_memory.copy_(data["w_contrast__memory_v2"])
    assert data["contrast_idx"][:, 0].equal(data["idx"])
    numbers = {"indices": data["idx"], "contrast": data["contrast_idx"][:, 1:]}
    agrees_with_golden("crd_case0", lambda s, t, _: loss(s, t, **numbers), kind="features")
    after = {name: data[f"after_contrast__{name}"] for name in ("params", "memory_v1", "memory_v2")}
    torch.testing.assert_close(loss.student_memory, after["memory_v1"], rtol=1e-9, atol=0)
    torch.testing.assert_close(loss.teacher_memory, after["memory_v2"], rtol=1e-9, atol=0)
    torch.testing.assert_close(loss.partition, after["params"][2:4], rtol=1e-6, atol=0)  # stored in float32 there
    assert loss.following == 0


def test_a_batch_enters_afterwards_in_place_of_the_oldest(rng: torch.Generator) -> None:
    loss = small()
    first, second = loss.student_memory.clone(), None
    batches = torch.randn(3, 2, 2, 3, generator=rng)
    entered = [embeddings(loss, *batch) for batch in batches]
    loss(*batches[0])
    torch.testing.assert_close(loss.student_memory, torch.cat([entered[0][0], first[2:]]))
    loss(*batches[1])
    second = loss.teacher_memory.clone()
    torch.testing.assert_close(second[:4], torch.cat([entered[0][1], entered[1][1]]))
    loss(*batches[2])  # places 4 and 0
    expected = torch.stack([entered[2][1][1], *second[1:4], entered[2][1][0]])
    torch.testing.assert_close(loss.teacher_memory, expected)
    assert loss.following == 1


def test_a_batch_larger_than_the_queue(rng: torch.Generator) -> None:
    loss, batch = small(), torch.randn(2, 7, 3, generator=rng)
    loss(*batch)
    entered = embeddings(loss, *batch)[0]
    torch.testing.assert_close(loss.student_memory, torch.cat([entered[5:], entered[2:5]]))  # a ring of 5
    assert loss.following == 2


def test_partition_is_the_first_batch_s(rng: torch.Generator) -> None:
    loss = small()
    loss(*torch.randn(2, 2, 3, generator=rng), torch.full((2,), 255))  # nothing to learn it from
    assert loss.partition.tolist() == [0, 0]
    loss(*torch.randn(2, 2, 3, generator=rng))
    first = loss.partition.clone()
    assert (first > 0).all()
    loss(*torch.randn(2, 2, 3, generator=rng))
    assert loss.partition.equal(first)
    assert sorted(k for k in loss.state_dict() if "embedding" not in k) == [
        "following", "partition", "student_memory", "teacher_memory",
    ]  # fmt: skip


def test_nothing_changes_in_eval_mode(rng: torch.Generator) -> None:
    loss = small().eval()
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    assert loss(*torch.randn(2, 2, 3, generator=rng)) > 0
    torch.testing.assert_close(loss.state_dict(), before, rtol=0, atol=0)


def test_an_entry_moves_by_its_momentum(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 3, generator=rng)
    loss = small(momentum=0.9)
    before = loss.teacher_memory.clone()
    loss(student, teacher, indices=torch.tensor([4, 1]), contrast=torch.tensor([[0, 2], [3, 0]]))
    expected = before.clone()
    expected[[4, 1]] = F.normalize(0.9 * before[[4, 1]] + 0.1 * embeddings(loss, student, teacher)[1], dim=1)
    torch.testing.assert_close(loss.teacher_memory, expected)


def test_void_images_have_no_number(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 3, 3, generator=rng)
    labels = torch.tensor([0, 255, 0])
    numbers = {"indices": torch.tensor([4, 1, 0]), "contrast": torch.tensor([[0, 2], [3, 0], [1, 2]])}
    kept = labels != 255
    all_of_them, valid = small(), small()
    value = all_of_them(student, teacher, labels, **numbers)
    torch.testing.assert_close(value, valid(student[kept], teacher[kept], **{k: v[kept] for k, v in numbers.items()}))
    torch.testing.assert_close(all_of_them.state_dict(), valid.state_dict())


def test_maps_are_their_mean_over_valid_positions(rng: torch.Generator) -> None:
    maps = torch.randn(2, 2, 3, 2, 2, generator=rng)
    labels = torch.tensor([[[0, 255], [0, 0]], [[255, 255], [1, 255]]])
    means = torch.stack([torch.stack([x[n].flatten(1)[:, labels[n].flatten() != 255].mean(1) for n in range(2)])
                         for x in maps])  # fmt: skip
    torch.testing.assert_close(small()(*maps, labels), small()(*means))


def test_draws_from_the_queue_without_repetition() -> None:
    loss = small(size=50, negatives=20, generator=torch.Generator().manual_seed(3))
    first, second = loss.draw(), loss.draw()
    assert len(set(first.tolist())) == 20
    assert set(first.tolist()) != set(second.tolist())
    again = small(size=50, negatives=20, generator=torch.Generator().manual_seed(3))
    assert again.student_memory.equal(loss.student_memory)
    assert again.draw().equal(first)
    assert sorted(small(negatives=100).draw().tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 0}, "size must be > 0, got 0"),
        ({"temperature": 0}, "temperature must be > 0, got 0"),
        ({"momentum": 1.5}, "momentum must be from 0 to 1, got 1.5"),
    ],
)
def test_hyperparameters(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**wrong)


def test_numbers_come_together() -> None:
    with pytest.raises(ValueError, match="indices and contrast must be given together"):
        small()(*torch.ones(2, 2, 3), indices=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"teacher_channels=3, got .* teacher \(2, 4\)"):
        small()(torch.ones(2, 3), torch.ones(2, 4))
