"""How the cost of distillation grows: with the batch, the resolution, the classes and the channels."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from benchmarks.steps import Size, bound, build_teacher, distiller_step, scene_labels
from benchmarks.timing import Figure, Work, in_turns, ratio
from segdistill import losses

METHODS = ("kd", "gskd")


def sizes(base: Size) -> Iterator[tuple[str, Size]]:
    """Yield the base, and sizes that differ from it in one thing."""
    yield "base", base
    for factor in (2, 4):
        yield f"batch {factor * base.batch}", replace(base, batch=factor * base.batch)
    side = replace(base, height=2 * base.height, width=2 * base.width)
    yield f"resolution {side.height}x{side.width}", side
    for classes in (11, 150):
        yield f"classes {classes}", replace(base, classes=classes)
    for channels in (base.channels // 2, 2 * base.channels):
        yield f"channels {channels}, {2 * channels}", replace(base, channels=channels)


def growth(base: Size, device: str, rounds: int, memory_format: str) -> dict[str, dict[str, Figure]]:
    """Return step over bound of each method, and cross-entropy's percentage of the student's step, by size."""
    figures: dict[str, dict[str, Figure]] = {
        **{f"growth of {method}, step / bound": {} for method in METHODS},
        "growth of cross-entropy, % of the student's step": {},
    }
    for name, size in sizes(base):
        teacher = build_teacher(size, device)
        sides: dict[str, Work] = {
            "bound": bound(size, device, teacher=teacher, memory_format=memory_format),
            "student": bound(size, device, teacher=None, memory_format=memory_format),
            "cross_entropy": _cross_entropy(size, device),
            **{m: distiller_step(size, device, m, teacher=teacher) for m in METHODS},
        }
        times = in_turns(sides, rounds, device)
        for method in METHODS:
            figures[f"growth of {method}, step / bound"][name] = ratio(times[method], times["bound"])
        share = ratio(times["cross_entropy"], times["student"], 100)
        figures["growth of cross-entropy, % of the student's step"][name] = share
    return figures


def _cross_entropy(size: Size, device: str) -> Work:
    """Return the forward and backward pass of the task loss, on the logits of both heads."""
    shape = (size.batch, size.classes, size.height // 8, size.width // 8)
    logits, aux = (torch.randn(shape, device=device, requires_grad=True) for _ in range(2))
    labels = scene_labels(size, device)
    return lambda: losses.cross_entropy((logits, aux), labels=labels).backward()
