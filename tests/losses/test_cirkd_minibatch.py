"""cirkd_minibatch: a number by hand, the equation taken literally, released numbers, then properties."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import CIRKDMiniBatch, _ops, cirkd_minibatch
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("CIRKDMiniBatch"),
    Case("CIRKDMiniBatch", {"temperature": 0.5, "pool": 2}),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Compare every ordered pair of images with a valid position, with the maps of all similarities."""
    chosen = [i for i in range(len(labels)) if (labels[i] != 255).any()]
    s, t = ({i: F.normalize(x[i][:, labels[i] != 255], dim=0) for i in chosen} for x in (student, teacher))
    pairs = []
    for i in chosen:
        for j in chosen:
            p, q = ((x[i].mT @ x[j] / temperature).softmax(dim=1) for x in (s, t))
            pairs.append((q * (q / p).log()).sum(dim=1).mean())
    return torch.stack(pairs).mean()


@pytest.mark.parametrize("at_a_time", [_ops.SIMILARITIES_AT_A_TIME, 150, 1])  # one block, 2 or 1 of 60 rows a block
def test_is_the_equation_taken_literally(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    monkeypatch.setattr(_ops, "SIMILARITIES_AT_A_TIME", at_a_time)
    student, teacher, labels = batch(6, 7, size=(4, 5))
    value = cirkd_minibatch(student, teacher, labels)
    torch.autograd.grad(value, student, retain_graph=True)  # the Distiller measures a gradient, then trains with it
    same_value_and_gradient(lambda: value, lambda: literal(student, teacher, labels, 0.1), [student])


def test_two_positions_by_hand() -> None:
    student = torch.tensor([[2.0, 0.0], [0.0, 5.0]]).view(1, 2, 1, 2)  # orthogonal: similarities (1, 0) and (0, 1)
    teacher = torch.tensor([[3.0, 7.0]]).view(1, 1, 1, 2)  # parallel: (1, 1), a softmax of (1/2, 1/2)
    p = math.exp(2) / (math.exp(2) + 1)
    expected = 0.5 * math.log(0.5 / p) + 0.5 * math.log(0.5 / (1 - p))
    assert cirkd_minibatch(student, teacher, temperature=0.5).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("at_a_time", [_ops.SIMILARITIES_AT_A_TIME, 1000])
def test_golden(agrees_with_golden: Callable[..., None], monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    monkeypatch.setattr(_ops, "SIMILARITIES_AT_A_TIME", at_a_time)
    agrees_with_golden("cirkd_minibatch_case1", CIRKDMiniBatch(), kind="features")


def test_never_holds_the_similarities_of_all_positions(rng: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ops, "SIMILARITIES_AT_A_TIME", 1000)
    student, teacher = torch.randn(2, 2, 8, 10, 10, generator=rng)
    largest = {"kept": 0, "made": 0}

    def pack(saved: Tensor) -> Tensor:
        largest["kept"] = max(largest["kept"], saved.numel())
        return saved

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function: Callable, types: object, args: tuple = (), kwargs: dict | None = None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                largest["made"] = max(largest["made"], result.numel())
            return result

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        value = cirkd_minibatch(student.requires_grad_(), teacher)
    with Watch():
        cirkd_minibatch(student, teacher)
        value.backward()
    assert largest["kept"] <= student.numel()
    assert largest["made"] <= 2 * student.numel()  # all similarities are 25 times as many


def test_pools_the_mean_of_the_valid_positions(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 1, 4, 5, 6, generator=rng, dtype=torch.float64)
    labels = torch.zeros(1, 5, 6, dtype=torch.long)
    labels[0, 0, 0] = labels[0, 1, 1] = 255
    labels[0, 2:4, 2:4] = 255  # a cell without any
    pooled = [F.avg_pool2d(x, 2, ceil_mode=True) for x in (student, teacher)]
    for cells, x in zip(pooled, (student, teacher), strict=True):
        cells[..., 0, 0] = (x[..., 0, 1] + x[..., 1, 0]) / 2
    cell_labels = torch.zeros(1, 3, 3, dtype=torch.long)
    cell_labels[0, 1, 1] = 255
    torch.testing.assert_close(cirkd_minibatch(student, teacher, labels, pool=2), cirkd_minibatch(*pooled, cell_labels))


def test_images_meet(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 6, 3, 4, generator=rng)
    alone = torch.stack([cirkd_minibatch(student[i : i + 1], teacher[i : i + 1]) for i in range(2)]).mean()
    turned = torch.stack([student[0], -student[1]])  # the same similarities within each image, others across
    within = torch.stack([cirkd_minibatch(turned[i : i + 1], teacher[i : i + 1]) for i in range(2)]).mean()
    torch.testing.assert_close(alone, within)
    assert (cirkd_minibatch(student, teacher) - cirkd_minibatch(turned, teacher)).abs() > 0.01


def test_images_meet_within_their_group_only() -> None:
    student, teacher, labels = batch(6, 7, images=5, size=(4, 5))
    groups = [slice(0, 2), slice(2, 4), slice(4, 5)]
    labels[1] = 255
    alone = [cirkd_minibatch(student[group], teacher[group], labels[group]) for group in groups]
    value = cirkd_minibatch(student, teacher, labels, images=2)
    # A mean over images: the first group has one with a valid position, the second two, the last none.
    assert alone[2] == 0
    torch.testing.assert_close(value, (alone[0] + 2 * alone[1]) / 3)


@pytest.mark.parametrize("temperature", [0.004, 0.02, 0.03, 5.0])
def test_any_temperature_is_the_equation(temperature: float) -> None:
    student, teacher, labels = batch(6, 7, size=(4, 5))
    teacher = student.detach() + 0.1 * torch.randn(student.shape, generator=torch.Generator().manual_seed(1))
    expected = literal(student, teacher, labels, temperature)
    value = cirkd_minibatch(student.float(), teacher.float(), labels, temperature=temperature)
    torch.testing.assert_close(value, expected.float(), rtol=2e-4, atol=0)


@pytest.mark.parametrize(("name", "least"), [("temperature", ">= 0.003"), ("pool", "> 0"), ("images", "> 0")])
def test_hyperparameters_must_be_positive(name: str, least: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be {least}, got 0"):
        CIRKDMiniBatch(**{name: 0})
