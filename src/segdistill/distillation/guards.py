"""Context managers around a call of a loss: errors name the term, inputs stay unchanged, the graph can be retained."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from segdistill.distillation.running import version
from segdistill.errors import UserError, first_line
from segdistill.system.memory import lacks_memory


@contextmanager
def named(term: str) -> Iterator[None]:
    """Turn an error of a loss into a UserError that names the term, except a lack of memory."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        if lacks_memory(error):
            raise  # callers catch it and lower the batch size
        raise UserError(f"term '{term}': {first_line(error)}") from error


@contextmanager
def unchanged(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], labels: Tensor | None) -> Iterator[None]:
    """Raise if a loss changes an input in place, because other terms and the caller read the same tensors."""
    inputs = {"labels": labels, **{f"the student's '{name}'": x for name, x in student.items()}}
    inputs |= {f"the teacher's '{name}'": x for name, x in teacher.items()}
    before = {what: version(tensor) for what, tensor in inputs.items() if tensor is not None}
    yield
    for what, tensor in inputs.items():
        if tensor is not None and version(tensor) != before[what]:
            raise ValueError(f"the loss changes {what} in place, and other terms read it; change a .clone() instead")


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run compiled modules eagerly: measuring gradients needs a retained graph, and a compiled one is not retained."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and the import takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
