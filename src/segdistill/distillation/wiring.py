"""The wiring table of a Distiller: the features that it compares, their adapters, labels and weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from segdistill.distillation.gradients import AutoWeight
from segdistill.distillation.wired import Wire, WiredTerm


class Wiring:
    """The wiring table of a Distiller. ``str()`` returns it as text.

    Attributes:
        rows: A tuple (name of the term, term, wire) for each feature of each term.
    """

    HEADER = ("term", "loss", "student", "teacher", "adapter", "resized", "labels", "weight")

    def __init__(self, rows: list[tuple[str, WiredTerm, Wire]]) -> None:
        self.rows = rows

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table's rows as text, under :attr:`HEADER`."""
        return [
            (
                name,
                type(term.loss).__name__ if isinstance(term.loss, nn.Module) else _function_name(term.loss),
                f"{wire.student} {_shape(wire.student_shape)}",
                f"{wire.teacher} {_shape(wire.teacher_shape)}" if wire.teacher_shape else "-",
                wire.adapter,
                _resized(term, wire),
                term.labels or "-",
                _weight(term),
            )
            for name, term, wire in self.rows
        ]

    def __str__(self) -> str:
        """Return the table as text with aligned columns."""
        lines = [self.HEADER, *self.cells()]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.HEADER))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )


def _shape(shape: torch.Size) -> str:
    return "x".join(str(size) for size in shape[1:])


def _resized(term: WiredTerm, wire: Wire) -> str:
    if term.resize is not None:
        return "x".join(map(str, term.resize))
    return "yes" if wire.resized else "-"


def _function_name(loss: Callable[..., Tensor]) -> str:
    inner = getattr(loss, "func", loss)  # of a partial
    return str(getattr(inner, "__name__", type(inner).__name__))


def _weight(term: WiredTerm) -> str:
    if isinstance(term.weight, AutoWeight):
        return f"auto:{term.weight.share:g}"
    start, end = term.weight_at(0.0), term.weight_at(1.0)
    return f"{start:g}" if start == end else f"{start:g} → {end:g}"
