"""Outputs of segmentation networks from any library, and of the Distiller."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from segdistill.errors import UserError


class SegOutput(NamedTuple):
    """The class scores of a network.

    Attributes:
        logits: Class scores of shape (N, C, h, w) at the resolution of the network, or (N, C) for classification.
        aux: Logits of an auxiliary head, used only in training; None without such a head.
    """

    logits: Tensor
    aux: Tensor | None = None


def read_output(output: object) -> SegOutput:
    """Return a network's output as :class:`SegOutput`.

    The output may be a tensor, a mapping with ``"out"`` (and ``"aux"``), or an object with ``.logits``.

    Raises:
        UserError: The output is anything else, or ``"aux"`` is no tensor.
    """
    if isinstance(output, SegOutput):
        return output
    if isinstance(output, Tensor):
        return SegOutput(output)
    if isinstance(output, Mapping) and isinstance(output.get("out"), Tensor):
        aux = output.get("aux")
        if aux is not None and not isinstance(aux, Tensor):
            raise UserError(f"the network returned a {type(aux).__name__} as 'aux'; expected the scores of one head")
        return SegOutput(output["out"], aux)
    logits = getattr(output, "logits", None)
    if isinstance(logits, Tensor):
        return SegOutput(logits)
    raise UserError(
        f"the network returned {type(output).__name__}; expected a tensor, a dict with 'out' or an "
        "object with .logits: wrap it in a module that returns one of these"
    )


def unwrap(network: nn.Module) -> nn.Module:
    """Return the network inside ``torch.compile`` and data-parallel wrappers, so that module paths have no prefix."""
    compiled = getattr(network, "_orig_mod", None)
    if isinstance(compiled, nn.Module):
        return unwrap(compiled)
    if isinstance(network, DataParallel | DistributedDataParallel):
        return unwrap(network.module)
    return network


def aligns_corners(network: nn.Module) -> bool:
    """Return whether a network's logits are upsampled with aligned corners: its attribute ``align_corners``.

    Without the attribute it is False, as in torchvision and transformers. smp, CIRKD and the papers that follow it
    align the corners. The wrong choice moves the borders of regions by up to half a stride.
    """
    return bool(getattr(unwrap(network), "align_corners", False))


class DistillerOutput(NamedTuple):
    """The values of one step of a :class:`segdistill.Distiller`.

    Attributes:
        total: The weighted sum of the terms, a scalar; call ``backward()`` on it.
        terms: The unweighted value of every term, by name, ``"task"`` included.
        weights: The weights of the terms in this step, by name.
        gradients: The norm of each unweighted term's gradient at the student, by name; empty unless measured.
        inner_objectives: The objectives of parts of losses that learn along with the student, such as a discriminator,
            by the term's name. They have weight 1 in the total and give the student no gradient.
    """

    total: Tensor
    terms: dict[str, Tensor]
    weights: dict[str, float]
    gradients: dict[str, float]
    inner_objectives: dict[str, Tensor]

    @property
    def gradient_shares(self) -> dict[str, float]:
        """The norm of each weighted term's gradient divided by their sum, by name; empty unless measured."""
        norms = {name: abs(self.weights[name]) * norm for name, norm in self.gradients.items()}
        total = sum(norms.values()) or 1.0
        return {name: norm / total for name, norm in norms.items()}
