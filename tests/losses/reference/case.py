"""One golden file: its inputs, and what the authors' code makes of them."""

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass

import torch
from torch import Tensor

from tests.losses.reference.inputs import Draw, Tensors
from tests.losses.reference.release import Release, without_cuda
from tests.losses.reference.repositories import Repository


@dataclass(frozen=True)
class Case:
    """A file NAME.npz.

    Attributes:
        name: Of the file.
        repository: Whose code computes it.
        inputs: How to draw each tensor that the loss takes.
        compute: From the release and the inputs to the loss, or to all results by name. It may add to the inputs, as
            the weights of a module.
        dtype: Of the computation.
    """

    name: str
    repository: Repository
    inputs: dict[str, Draw]
    compute: Callable[[Release, Tensors], Tensor | Tensors]
    dtype: torch.dtype = torch.float64

    def draw(self) -> Tensors:
        """Draw inputs, the same each time."""
        generator = torch.Generator().manual_seed(0)
        drawn = {name: draw(generator) for name, draw in self.inputs.items()}
        return {name: x.to(self.dtype) if x.is_floating_point() else x for name, x in drawn.items()}

    def run(self, release: Release, inputs: Tensors) -> Tensors:
        """Return the loss, its gradient with respect to every student tensor, and what else the file holds."""
        students = {name: x.requires_grad_() for name, x in inputs.items() if name.startswith("student_")}
        with without_cuda(self.dtype), redirect_stdout(io.StringIO()):
            torch.manual_seed(0)
            computed = self.compute(release, inputs)
        results = computed if isinstance(computed, dict) else {"loss": computed.squeeze()}
        if students and results["loss"].requires_grad:
            gradients = torch.autograd.grad(results["loss"], list(students.values()))
            results |= {f"grad_{name}": x for name, x in zip(students, gradients, strict=True)}
        return {name: x.detach() for name, x in results.items()}
