"""Name the term whose loss or gradient is not finite, before the step changes the weights."""

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from segdistill.distillation.distiller import Distiller
from segdistill.distillation.gradients import gradient_norms
from segdistill.distillation.parts import Part
from segdistill.evaluation.finite import are_finite
from segdistill.outputs import DistillerOutput
from segdistill.training.interrupt import on_any


def gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Return the gradients of the parameters that have one."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def blame(
    distiller: Distiller,
    out: DistillerOutput,
    batches: Sequence[Sequence[Tensor]],
    fabric: Fabric,
    *,
    step: int,
    scaled: bool,
    seed: Callable[[], None] = lambda: None,
    part: Callable[..., Part | None] = lambda *batch: None,
) -> tuple[str, str] | None:
    """Return the first term with a value or gradient that is not finite. Call it between backward and optimizer step.

    Args:
        distiller: The Distiller with the gradients of the step.
        out: The output of the step.
        batches: The images and labels of the step, part by part, and what is stored of the teacher's features.
        fabric: The engine.
        step: The number of the step, for the message.
        scaled: True if the gradients are scaled for float16. They are then not checked: the scaler skips the step if
            they are not finite.
        seed: Resets the random state to that of the step, so that the step can be repeated.
        part: Returns the part of a batch, if the teacher's features are stored.

    Returns:
        The term's name, or the placeholder NAME if no single term is the cause, and a message; None if everything is
        finite on every process.
    """
    values = [out.total, *([] if scaled else gradients(distiller.parameters()))]
    if not on_any(fabric, not are_finite(values)):
        return None
    if forward := blame_forward(out, fabric):
        return forward[0], f"{forward[1]} at step {step} (forward pass)"
    seed()
    name, problem = blame_backward(distiller, batches, fabric, part)
    return name, f"{problem} at step {step} (backward pass)"


def blame_forward(out: DistillerOutput, fabric: Fabric) -> tuple[str, str] | None:
    """Return the first term with a value that is not finite on any process, and a message; None if all are finite."""
    named = {f"term '{name}'": (name, value) for name, value in out.terms.items()}
    named |= {f"the inner objective of term '{name}'": (name, value) for name, value in out.inner_objectives.items()}
    named["the total loss"] = ("NAME", out.total)
    wrong = torch.stack([~torch.isfinite(value.detach()).reshape(()) for _, value in named.values()]).float()
    if fabric.world_size > 1:
        wrong = fabric.all_reduce(wrong, reduce_op="sum")  # type: ignore[assignment]
    for (subject, (name, value)), is_wrong in zip(named.items(), wrong.tolist(), strict=True):
        if is_wrong:
            number = float(value.detach())  # finite if another process has the value that is not
            return name, f"{subject} is {'not finite' if math.isfinite(number) else number}"
    return None


def blame_backward(
    distiller: Distiller,
    batches: Sequence[Sequence[Tensor]],
    fabric: Fabric,
    part: Callable[..., Part | None] = lambda *batch: None,
) -> tuple[str, str]:
    """Return the first term with a gradient that is not finite, and a message. The step is repeated term by term."""
    for batch in batches:
        images, labels, *stored = (tensor.to(fabric.device) for tensor in batch)
        with fabric.autocast():
            out = distiller(images, labels, part(images, labels, *stored))
        for name, norm in gradient_norms(out.terms, distiller.student.parameters()).items():
            if not math.isfinite(norm):
                return name, f"the gradient of term '{name}' is not finite"
    for name, parameter in distiller.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            return "NAME", f"the gradient of '{name}' is not finite"
    return "NAME", "the sum of the gradients is not finite"
