"""Whether weights and other tensors are finite."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from segdistill.errors import UserError


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Tell whether all values are finite, with one look at the device."""
    # The largest value and not the root of squares, which overflow where the values do not.
    largest = get_total_norm([tensor.detach() for tensor in tensors if tensor.numel()], norm_type=math.inf)
    return math.isfinite(float(largest))


def not_finite(network: nn.Module) -> str | None:
    """Return the name of the first weight, or statistic of batch norm, with a value that is not finite; or None."""
    named: dict[str, Tensor] = dict(network.named_parameters())
    named |= {
        name: buffer for name, buffer in network.named_buffers() if name.endswith(("running_mean", "running_var"))
    }
    if are_finite(named.values()):
        return None
    return next(name for name, tensor in named.items() if not torch.isfinite(tensor).all())


def check_loaded(network: nn.Module, whose: str) -> None:
    """Refuse a network that has just been built with weights that are not finite.

    Raises:
        UserError: Names the network, ``whose`` it is, and the first such tensor.
    """
    if name := not_finite(network):
        raise UserError(f"{whose} weights are not finite: '{name}' holds nan or inf; give a file of other weights")
