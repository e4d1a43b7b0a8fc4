"""cirkd_memory: a number by hand, the released code's numbers, then what the queues hold."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import CIRKDMemory, _ops
from segdistill.losses._rings import enqueue
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case(
        "CIRKDMemory",
        {"num_classes": 5, "channels": 6, "pixel_size": 40, "region_size": 3, "region_contrast": 5},
        draws="positions are ranked by a random number each, void or not",
    ),
]  # rows of the contract test

Golden = Callable[[str], dict[str, Tensor]]


def small(**kwargs: Any) -> CIRKDMemory:
    """Three classes, four channels, 40 pixels and 5 regions a class."""
    return CIRKDMemory(**{"num_classes": 3, "channels": 4, "pixel_size": 40, "region_size": 5} | kwargs)


def colours(labels: Tensor, channels: int = 4) -> Tensor:
    """Teacher features in which a position's direction is its class."""
    return F.one_hot(labels.where(labels != 255, 3), channels).permute(0, 3, 1, 2).float()


def literal(student: Tensor, teacher: Tensor, labels: Tensor, queues: list[Tensor], temperature: float) -> Tensor:
    """Compare every valid position with every entry of every queue (classes, size, channels)."""
    divergences = []
    for n, y, x in ((labels != 255) & (labels < len(queues[0]))).nonzero().tolist():
        s, t = (f[n, :, y, x] / f[n, :, y, x].square().sum().sqrt() for f in (student, teacher))
        for queue in queues:
            entries = queue.flatten(0, 1)
            p, q = (torch.softmax(torch.stack([v @ f for v in entries]) / temperature, dim=0) for f in (s, t))
            divergences.append((q * (q / p).log()).sum())
    return sum(divergences) / (len(divergences) / len(queues))


@pytest.mark.parametrize("at_a_time", [_ops.SIMILARITIES_AT_A_TIME, 100])
def test_is_the_equation_taken_literally(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    monkeypatch.setattr(_ops, "SIMILARITIES_AT_A_TIME", at_a_time)
    student, teacher, labels = batch(4, 4)  # of five classes, the last two do not count
    loss = small(pixel_size=7, region_size=5).double().eval()  # it compares with all entries, and none enters
    same_value_and_gradient(
        lambda: loss(student, teacher, labels),
        lambda: literal(student, teacher, labels, [loss.pixel_queue, loss.region_queue], 0.1),
        [student],
    )


@pytest.mark.parametrize("which", ["pixel", "region"])
def test_two_entries_by_hand(which: str) -> None:
    other = {"pixel": "region", "region": "pixel"}[which]
    sizes = {f"{which}_size": 2, f"{which}_contrast": 2, f"{other}_contrast": 0}
    loss = CIRKDMemory(num_classes=1, channels=2, temperature=0.5, **sizes).eval()
    getattr(loss, f"{which}_queue").copy_(torch.eye(2)[None])
    student = torch.tensor([3.0, 0.0]).view(1, 2, 1, 1)  # similarities (1, 0)
    teacher = torch.tensor([2.0, 2.0]).view(1, 2, 1, 1)  # equal ones
    p = math.exp(2) / (math.exp(2) + 1)
    expected = 0.5 * math.log(0.5 / p) + 0.5 * math.log(0.5 / (1 - p))
    value = loss(student, teacher, torch.zeros(1, 1, 1, dtype=torch.long)).item()
    assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("at_a_time", [_ops.SIMILARITIES_AT_A_TIME, 1000])
@pytest.mark.parametrize("which", ["pixel", "region"])
def test_golden(
    agrees_with_golden: Callable[..., None], golden: Golden, monkeypatch: pytest.MonkeyPatch, which: str, at_a_time: int
) -> None:
    monkeypatch.setattr(_ops, "SIMILARITIES_AT_A_TIME", at_a_time)
    name = f"cirkd_memory_{which}_case1"
    queue = golden(name)[f"{which}_queue"]
    other = {"pixel": "region", "region": "pixel"}[which]
    loss = CIRKDMemory(num_classes=5, channels=24, **{f"{which}_size": queue.shape[1], f"{other}_contrast": 0})
    getattr(loss, f"{which}_queue").copy_(queue)
    agrees_with_golden(name, loss.eval(), kind="features", labels=True)


def test_golden_regions_enter(golden: Golden) -> None:
    data = golden("cirkd_region_enqueue_case1")
    loss = CIRKDMemory(num_classes=5, channels=24, pixel_size=16, region_size=6)
    loss.region_queue.zero_()
    teacher = data["teacher_features_normalised"]
    loss(teacher, teacher, data["labels_feature_resolution"])
    torch.testing.assert_close(loss.region_queue, data["region_queue_after"])
    assert loss.region_next.equal(data["pointer_after"])


def test_both_terms_add_up(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 4, 3, 3, generator=rng)
    labels = torch.randint(0, 3, (2, 3, 3), generator=rng)
    both = small(pixel_contrast=400, region_contrast=400).eval()  # more than there are: all of them
    alone = []
    for left_out in ("pixel_contrast", "region_contrast"):
        one = small(**{left_out: 0}).eval()
        one.load_state_dict(both.state_dict())
        alone.append(one(student, teacher, labels))
    torch.testing.assert_close(both(student, teacher, labels), sum(alone))


def test_a_class_s_queues_hold_that_class(rng: torch.Generator) -> None:
    labels = torch.full((2, 6, 6), 255)
    labels[:, 0] = 2
    labels[0, 3:] = 1
    labels[1, 4:] = 0
    teacher = colours(labels)
    loss = small(pixel_contrast=3)
    loss(torch.randn(teacher.shape, generator=rng), teacher, labels)
    assert loss.pixel_next.tolist() == [12, 16, 12]  # all of a class, at most 16 of an image
    assert loss.region_next.tolist() == [1, 1, 2]
    for queue, following in ((loss.pixel_queue, loss.pixel_next), (loss.region_queue, loss.region_next)):
        for c in range(3):
            entered, before = queue[c, : following[c]], queue[c, following[c] :]
            assert (entered == F.one_hot(torch.tensor(c), 4)).all()
            assert (before != F.one_hot(torch.tensor(c), 4)).any(dim=1).all()


def test_pixels_that_enter_are_drawn_at_random_without_repetition(rng: torch.Generator) -> None:
    teacher = F.normalize(torch.randn(1, 4, 10, 10, generator=rng), dim=1)
    labels = torch.ones(1, 10, 10, dtype=torch.long)
    drawn = []
    for seed in (1, 2):
        loss = small(generator=torch.Generator().manual_seed(seed))
        loss(teacher, teacher, labels)
        match = loss.pixel_queue[1, :16] @ teacher[0].flatten(1)
        assert (match.amax(dim=1) > 1 - 1e-6).all()
        drawn.append(set(match.argmax(dim=1).tolist()))
        assert len(drawn[-1]) == 16
    assert drawn[0] != drawn[1]


def test_a_full_queue_is_a_ring() -> None:
    queue, following = torch.zeros(2, 3, 1), torch.zeros(2, dtype=torch.long)

    def enter(entries: list[float], classes: list[int]) -> None:
        # The first entry does not count, and would be the next of class 1.
        rows, present = torch.tensor([99.0, *entries])[:, None], torch.tensor([False] + [True] * len(entries))
        enqueue(queue, following, rows, torch.tensor([1, *classes]), present)

    enter([1, 10, 2], [0, 1, 0])
    assert queue.flatten(1).tolist() == [[1, 2, 0], [10, 0, 0]]
    enter([3, 4, 20], [0, 0, 1])
    assert queue.flatten(1).tolist() == [[4, 2, 3], [10, 20, 0]]
    enter([5, 6, 7, 8, 9], [0] * 5)  # more than there is room for: the last three stay
    assert queue.flatten(1).tolist() == [[7, 8, 9], [10, 20, 0]]
    assert following.tolist() == [0, 2]


def test_draws_the_same_number_of_every_class() -> None:
    loss = small(generator=torch.Generator().manual_seed(0))
    loss.pixel_queue.copy_(torch.arange(3.0).view(3, 1, 1).expand(3, 40, 4))
    assert loss.draw(loss.pixel_queue, 20)[0].tolist() == [0.0] * 7 + [1.0] * 7 + [2.0] * 7  # 20 // 3 + 1
    places = torch.arange(40.0).view(1, 40, 1).expand(3, 40, 4)
    first, second = (loss.draw(places, 20)[0].view(3, 7) for _ in range(2))
    assert first[0].equal(first[1])
    assert len(set(first[0].tolist())) == 7
    assert not first.equal(second)


@pytest.mark.parametrize(("training", "label"), [(False, 1), (True, 255), (True, 3)])
def test_nothing_enters_in_eval_mode_or_from_void(rng: torch.Generator, training: bool, label: int) -> None:
    student, teacher = torch.randn(2, 2, 4, 3, 3, generator=rng)
    loss = small().train(training)
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    assert sorted(before) == ["pixel_next", "pixel_queue", "region_next", "region_queue"]
    loss(student, teacher, torch.full((2, 3, 3), label))
    for name, value in loss.state_dict().items():
        assert value.equal(before[name])


def test_the_batch_enters_before_it_is_compared(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 4, 3, 3, generator=rng)
    labels = torch.randint(0, 3, (2, 3, 3), generator=rng)
    loss = small(pixel_contrast=400, region_contrast=400)
    value = loss(student, teacher, labels)
    torch.testing.assert_close(loss.eval()(student, teacher, labels), value)


def test_projector(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 6, 3, 3, generator=rng), torch.randn(2, 4, 3, 3, generator=rng)
    labels = torch.randint(0, 3, (2, 3, 3), generator=rng)
    loss = small(student_channels=6, pixel_contrast=400, region_contrast=400)
    assert not loss.equal_channels  # so that a Term adds no adapter
    value = loss(student, teacher, labels)
    value.backward()
    assert [tuple(p.shape) for p in loss.parameters()] == [(4, 6, 1, 1), (4,), (4,), (4, 4, 1, 1)]
    assert all(p.grad.abs().sum() > 0 for p in loss.parameters())
    first, second = (p for p in loss.parameters() if p.dim() == 4)
    hidden = F.batch_norm(F.conv2d(student, first), None, None, training=True).relu()
    plain = small(pixel_contrast=400, region_contrast=400).eval()
    plain.load_state_dict({k: v for k, v in loss.state_dict().items() if "projector" not in k})
    torch.testing.assert_close(plain(F.conv2d(hidden, second), teacher, labels), value)


def one_process(rank: int, file: str) -> None:
    """One image here, two there; leave what the queues hold beside ``file``."""
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    torch.manual_seed(rank)  # the processes draw different numbers
    teacher, labels = shared_batch()
    own = slice(0, 1) if rank == 0 else slice(1, 3)
    loss = small()
    for queue in (loss.pixel_queue, loss.region_queue):
        queue.zero_()  # as DDP makes them equal
    loss(teacher[own], teacher[own], labels[own])
    torch.save(loss.state_dict(), f"{file}.{rank}")
    dist.destroy_process_group()


def shared_batch() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (3, 4, 4), generator=rng)
    labels[0, labels[0] == 1] = 255  # the first process has nothing of class 1
    return torch.randn(3, 4, 4, 4, generator=rng), labels


def test_processes_share_what_enters(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(one_process, (str(tmp_path / "store"),), nprocs=2)
    first, second = (torch.load(tmp_path / f"store.{rank}") for rank in range(2))
    alone = small()
    for queue in (alone.pixel_queue, alone.region_queue):
        queue.zero_()
    teacher, labels = shared_batch()
    alone(teacher, teacher, labels)
    for name, value in alone.state_dict().items():
        assert first[name].equal(second[name])
        if name == "pixel_queue":  # an image's pixels enter in random order
            torch.testing.assert_close(first[name].sort(dim=1)[0], value.sort(dim=1)[0])
        else:
            torch.testing.assert_close(first[name], value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_classes": 0}, "num_classes must be > 0, got 0"),
        ({"region_size": 0}, "region_size must be > 0, got 0"),
        ({"temperature": 0}, "temperature must be > 0, got 0"),
        ({"pixel_contrast": -1}, "pixel_contrast must be >= 0, got -1"),
        ({"pixel_contrast": 0, "region_contrast": 0}, "must not both be 0"),
    ],
)
def test_hyperparameters(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**wrong)


def test_teacher_has_the_channels_of_the_queues(rng: torch.Generator) -> None:
    maps, labels = torch.randn(2, 5, 3, 3, generator=rng), torch.zeros(2, 3, 3, dtype=torch.long)
    with pytest.raises(ValueError, match=r"teacher must have channels=4, got \(2, 5, 3, 3\)"):
        small()(maps, maps, labels)
