"""A forward pass of any network, in the network's dtype and without changes to the caller's images."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from segdistill.outputs import SegOutput, read_output

HALF = (torch.float16, torch.bfloat16)


class Runner:
    """Run a network without changing the caller's images.

    A network that changes its input in place, for instance to normalize it, gets a copy. The first pass in training
    mode and the first in eval mode run on a copy to detect this.
    """

    def __init__(self) -> None:
        self._changes_input: dict[bool, bool] = {}

    def __call__(self, network: nn.Module, images: Tensor) -> SegOutput:
        """Return the output of ``network`` for images (N, 3, H, W); give the same network in every call."""
        mode = network.training
        is_known = mode in self._changes_input or torch.compiler.is_compiling()
        copies = self._changes_input.get(mode, not is_known)
        given = images.clone() if copies else images
        before = version(given)
        output = run(network, given)
        if not is_known and before is not None:
            self._changes_input[mode] = version(given) != before
        return output


def run(network: nn.Module, images: Tensor) -> SegOutput:
    """Return the output of a network for images, cast to the dtype of its weights.

    A network in half precision runs outside autocast. A network with the attribute ``runs_members`` casts the images
    for each of its members.
    """
    if getattr(network, "runs_members", False) or not images.is_floating_point():
        return read_output(network(images))
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), images.dtype)
    with torch.autocast(images.device.type, enabled=False) if dtype in HALF else nullcontext():
        return read_output(network(images.to(dtype)))


def version(tensor: Tensor) -> int | None:
    """Return how often a tensor was changed in place; None for a tensor of inference mode, which does not count it."""
    return None if tensor.is_inference() else tensor._version
