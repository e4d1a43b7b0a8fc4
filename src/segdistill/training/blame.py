"""Name the term to blame for a step that is not finite, before it reaches the weights."""

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from segdistill.distillation.distiller import Distiller
from segdistill.distillation.gradients import gradient_norms
from segdistill.evaluation.finite import are_finite
from segdistill.outputs import DistillerOutput
from segdistill.training.interrupt import on_any


def gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Return the gradients that there are."""
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
) -> tuple[str, str] | None:
    """Look at a step between its backward pass and its optimizers; name the first term to blame where it is not finite.

    Args:
        distiller: With the step's gradients.
        out: The step's values.
        batches: Its images and labels, part by part.
        fabric: The engine.
        step: Its number, for the line.
        scaled: Gradients are scaled for float16: what is not finite in them is the scaler's business.
        seed: Sets random numbers back to those of the step, to take it again.

    Returns:
        The term's name, or NAME where it is none's, and a line; None where all is finite, on every process.
    """
    wanted = [out.total, *([] if scaled else gradients(distiller.parameters()))]
    if not on_any(fabric, not are_finite(wanted)):
        return None
    if forward := blame_forward(out, fabric):
        return forward[0], f"{forward[1]} at step {step} (forward pass)"
    seed()
    name, what = blame_backward(distiller, batches, fabric)
    return name, f"{what} at step {step} (backward pass)"


def blame_forward(out: DistillerOutput, fabric: Fabric) -> tuple[str, str] | None:
    """Return what is not finite in a step's values, on whichever process: the first term, and what it is; or None."""
    named = {f"term '{name}'": (name, value) for name, value in out.terms.items()}
    named |= {f"the inner objective of term '{name}'": (name, value) for name, value in out.inner_objectives.items()}
    named["the total loss"] = ("NAME", out.total)
    wrong = torch.stack([~torch.isfinite(value.detach()).reshape(()) for _, value in named.values()]).float()
    if fabric.world_size > 1:
        wrong = fabric.all_reduce(wrong, reduce_op="sum")  # type: ignore[assignment]
    for (what, (name, value)), is_wrong in zip(named.items(), wrong.tolist(), strict=True):
        if is_wrong:
            here = float(value.detach())
            return name, f"{what} is {'not finite' if math.isfinite(here) else here}"
    return None


def blame_backward(distiller: Distiller, batches: Sequence[Sequence[Tensor]], fabric: Fabric) -> tuple[str, str]:
    """Return the first term whose gradient is not finite, found by taking the step again term by term, and a line."""
    for images, labels in batches:
        with fabric.autocast():
            out = distiller(images.to(fabric.device), labels.to(fabric.device))
        for name, norm in gradient_norms(out.terms, distiller.student.parameters()).items():
            if not math.isfinite(norm):
                return name, f"the gradient of term '{name}' is not finite"
    for name, parameter in distiller.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            return "NAME", f"the gradient of '{name}' is not finite"
    return "NAME", "the sum of the gradients is not finite"
