"""cross_entropy: numbers by hand, the released code's, then properties of its own."""

import math
import re
from collections.abc import Callable
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import CrossEntropy, cross_entropy
from tests.losses.references import batch, same_value_and_gradient


def literal(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean, pixel by pixel of the labels; its scores come from the four logits around it."""
    (h, w), (height, width) = logits.shape[2:], labels.shape[1:]
    values = []
    for n, i, j in (labels != 255).nonzero().tolist():
        y, x = i * (h - 1) / (height - 1), j * (w - 1) / (width - 1)  # corners on corners
        top, left = min(int(y), h - 2), min(int(x), w - 2)
        scores = sum(
            (1 - abs(y - row)) * (1 - abs(x - column)) * logits[n, :, row, column]
            for row in (top, top + 1)
            for column in (left, left + 1)
        )
        values.append(scores.exp().sum().log() - scores[labels[n, i, j]])
    return sum(values) / len(values)


module = import_module("segdistill.losses.cross_entropy")  # the package has a function of this name


@pytest.mark.parametrize("at_a_time", [module.UPSAMPLED_AT_A_TIME, 1, 2 * 5 * 7 * 9])
@pytest.mark.parametrize("aux_weight", [0.4, 2.0])
def test_is_the_equation_taken_literally(monkeypatch: pytest.MonkeyPatch, aux_weight: float, at_a_time: int) -> None:
    monkeypatch.setattr(module, "UPSAMPLED_AT_A_TIME", at_a_time)  # all images, one, two
    (logits, _, _), (aux, _, _), (_, _, labels) = batch(), batch(size=(2, 3)), batch(size=(7, 9))
    same_value_and_gradient(
        lambda: cross_entropy((logits, aux), None, labels, aux_weight=aux_weight),
        lambda: literal(logits, labels) + aux_weight * literal(aux, labels),
        [logits, aux],
    )


def test_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])  # (3/4, 1/4), (1/2, 1/2)
    expected = (-math.log(0.25) - math.log(0.5)) / 2
    assert cross_entropy(logits, labels=torch.tensor([1, 0])).item() == pytest.approx(expected)
    void = cross_entropy(logits, labels=torch.tensor([1, 255]))
    assert void.item() == pytest.approx(-math.log(0.25))


def test_auxiliary_head_by_hand() -> None:
    logits, aux = torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 1, 1)
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    assert CrossEntropy()((logits, aux), None, labels).item() == pytest.approx(1.4 * math.log(4))
    assert CrossEntropy(aux_weight=0)((logits, aux), None, labels).item() == pytest.approx(math.log(4))
    assert CrossEntropy()((logits, None), None, labels).item() == pytest.approx(math.log(4))


def test_golden(golden: Callable[[str], dict[str, Tensor]]) -> None:
    data = golden("task_ce_case1")
    student = data["student_logits"].requires_grad_()
    value = cross_entropy(student, None, data["labels"])
    value.backward()
    torch.testing.assert_close(value, data["loss"], rtol=1e-5, atol=0)
    expected = data["grad_student_logits"]
    torch.testing.assert_close(student.grad, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def test_every_valid_pixel_of_the_batch_weighs_the_same(rng: torch.Generator) -> None:
    logits = torch.randn(2, 5, 4, 4, generator=rng)
    labels = torch.randint(0, 5, (2, 4, 4), generator=rng)
    labels[0, :3] = 255
    torch.testing.assert_close(cross_entropy(logits, labels=labels), F.cross_entropy(logits, labels, ignore_index=255))


def test_all_void_is_zero_and_still_backpropagates(rng: torch.Generator) -> None:
    logits = torch.randn(2, 5, 4, 4, generator=rng, requires_grad=True)
    value = cross_entropy((logits, logits), labels=torch.full((2, 8, 8), 255))
    value.backward()
    assert value == 0
    assert logits.grad.abs().sum() == 0


def test_autocast_changes_nothing(rng: torch.Generator) -> None:
    logits = torch.randn(2, 5, 4, 4, generator=rng).bfloat16()
    labels = torch.randint(0, 5, (2, 8, 8), generator=rng)
    with torch.autocast("cpu", torch.bfloat16):
        value = cross_entropy((logits, logits), labels=labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, cross_entropy((logits.float(), logits.float()), labels=labels))


def test_pieces_have_the_value_and_the_gradient_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, rng: torch.Generator
) -> None:
    logits = torch.randn(3, 5, 9, 9, generator=rng)
    labels = torch.randint(0, 5, (3, 33, 33), generator=rng)
    labels[0] = 255

    def computed(at_a_time: int) -> tuple[Tensor, Tensor, int]:
        """Return value, gradient, and the size of the largest tensor that is kept for a backward pass."""
        monkeypatch.setattr(module, "UPSAMPLED_AT_A_TIME", at_a_time)
        student, sizes = logits.clone().requires_grad_(), [0]
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            value = cross_entropy(student, None, labels)
        (3 * value).backward()
        return value.detach(), student.grad, max(sizes)

    *whole, largest = computed(module.UPSAMPLED_AT_A_TIME)
    *pieces, largest_piece = computed(1)
    torch.testing.assert_close(pieces, whole)
    assert largest == 3 * largest_piece == 3 * 5 * 33 * 33


def test_a_second_derivative_of_pieces_is_refused(monkeypatch: pytest.MonkeyPatch, rng: torch.Generator) -> None:
    monkeypatch.setattr(module, "UPSAMPLED_AT_A_TIME", 1)  # the saved gradient is a constant
    student = torch.randn(2, 3, 4, 4, generator=rng, requires_grad=True)
    value = cross_entropy(student, None, torch.zeros(2, 8, 8, dtype=torch.long))
    (gradient,) = torch.autograd.grad(value, student, create_graph=True)
    with pytest.raises(RuntimeError, match="cross_entropy of a large batch has no second derivative"):
        gradient.square().sum().backward()


def test_a_weight_learns_from_the_gradient_of_pieces(monkeypatch: pytest.MonkeyPatch, rng: torch.Generator) -> None:
    student, weight = torch.randn(2, 3, 4, 4, generator=rng, requires_grad=True), torch.ones((), requires_grad=True)

    def learned(at_a_time: int) -> Tensor:  # as GradNorm learns the weights of tasks
        monkeypatch.setattr(module, "UPSAMPLED_AT_A_TIME", at_a_time)
        value = weight * cross_entropy(student, None, torch.zeros(2, 8, 8, dtype=torch.long))
        (gradient,) = torch.autograd.grad(value, student, create_graph=True)
        return torch.autograd.grad(gradient.norm(), weight)[0]

    torch.testing.assert_close(learned(1), learned(2**24))


def test_needs_labels() -> None:
    with pytest.raises(ValueError, match="cross_entropy needs labels"):
        cross_entropy(torch.zeros(1, 2, 1, 1))


@pytest.mark.parametrize("unknown", [5, 254, -1])
def test_a_label_that_is_no_class_is_named(unknown: int) -> None:
    labels = torch.tensor([[[0, 4], [255, unknown]]])
    message = f"labels hold {unknown}, and the logits have 5 classes; expected 0 to 4, or 255 (ignore_index) for void"
    with pytest.raises(ValueError, match=re.escape(message)):
        cross_entropy(torch.zeros(1, 5, 2, 2), labels=labels)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 8), (2, 1, 8, 8)])
def test_labels_must_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"got logits \(2, 5, 4, 4\) and labels \("):
        cross_entropy(torch.zeros(2, 5, 4, 4), labels=torch.zeros(shape, dtype=torch.long))


def test_aux_weight_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match=r"aux_weight must be >= 0, got -0\.1"):
        CrossEntropy(aux_weight=-0.1)
