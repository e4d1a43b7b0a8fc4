"""Inputs of the golden files, drawn or given."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Draw = Callable[[torch.Generator], Tensor]
Tensors = dict[str, Tensor]


def normal(*shape: int, scale: float = 1.0) -> Draw:
    return lambda generator: scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def unit(*shape: int) -> Draw:
    """Vectors of length 1 along the last dimension."""
    return lambda generator: nn.functional.normalize(normal(*shape)(generator), dim=-1)


def labels(*shape: int, classes: int = 5, void: float = 0.1) -> Draw:
    """Class indices, a part of them void."""

    def draw(generator: torch.Generator) -> Tensor:
        drawn = torch.randint(classes, shape, generator=generator)
        return drawn.where(torch.rand(shape, generator=generator) >= void, 255)

    return draw


def constant(value: float | list[float]) -> Draw:
    return lambda generator: torch.tensor(value)


def features(student: int = 16, teacher: int = 24) -> dict[str, Draw]:
    return {"student_features": normal(2, student, 8, 12), "teacher_features": normal(2, teacher, 8, 12)}


def logits(*shape: int) -> dict[str, Draw]:
    shape = shape or (2, 5, 8, 12)
    return {"student_logits": normal(*shape, scale=2), "teacher_logits": normal(*shape, scale=3)}


def pair(inputs: Tensors, kind: str) -> tuple[Tensor, Tensor]:
    return inputs[f"student_{kind}"], inputs[f"teacher_{kind}"]


def with_weights(module: nn.Module, inputs: Tensors, prefix: str = "w_") -> nn.Module:
    """Give ``module`` the weights of the inputs, w_* by their name, or add its own to them where there are none."""
    given = {n.removeprefix(prefix).replace("__", "."): x for n, x in inputs.items() if n.startswith(prefix)}
    if given:
        module.load_state_dict(given)
    else:
        own = {f"{prefix}{name.replace('.', '__')}": x.detach().clone() for name, x in module.state_dict().items()}
        inputs.update(own)
    return module
