"""The outputs of segmentation networks, from any library, and of the Distiller."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from segdistill.errors import UserError


class SegOutput(NamedTuple):
    """Dense class scores.

    Attributes:
        logits: Shape (N, C, h, w) at the network's own resolution, or (N, C) for classification.
        aux: Logits of an auxiliary head, used in training only; None without such a head.
    """

    logits: Tensor
    aux: Tensor | None = None


def read_output(output: object) -> SegOutput:
    """Read a network's output: a tensor, a mapping with ``"out"``, or an object with ``.logits``.

    Raises:
        UserError: Anything else.
    """
    if isinstance(output, SegOutput):
        return output
    if isinstance(output, Tensor):
        return SegOutput(output)
    if isinstance(output, Mapping) and isinstance(output.get("out"), Tensor):
        return SegOutput(output["out"], output.get("aux"))
    logits = getattr(output, "logits", None)
    if isinstance(logits, Tensor):
        return SegOutput(logits)
    raise UserError(
        f"the network returned {type(output).__name__}; expected a tensor, a dict with 'out' or an "
        "object with .logits: wrap it in a module that returns one of these"
    )


class DistillerOutput(NamedTuple):
    """The values of one step of a :class:`segdistill.Distiller`.

    Attributes:
        total: The weighted sum of the terms, a scalar; call ``backward()`` on it.
        terms: Every term's value before its weight, by name; ``"task"`` among them.
        weights: The weights of this step, by name.
        gradients: The norm of each unweighted term's gradient at the student, by name; empty unless measured.
        inner_objectives: The objectives of a loss's parts that learn next to the student (a discriminator), by term.
            They are in the total with weight 1 and send no gradient to the student.
    """

    total: Tensor
    terms: dict[str, Tensor]
    weights: dict[str, float]
    gradients: dict[str, float]
    inner_objectives: dict[str, Tensor]

    @property
    def gradient_shares(self) -> dict[str, float]:
        """Each weighted term's part of all the gradients at the student, by name; empty unless measured."""
        pulls = {name: abs(self.weights[name]) * norm for name, norm in self.gradients.items()}
        total = sum(pulls.values()) or 1.0
        return {name: pull / total for name, pull in pulls.items()}
