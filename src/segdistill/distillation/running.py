"""Run somebody's network as it wants to be run, on images that stay as they are."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from segdistill.outputs import SegOutput, read_output

HALF = (torch.float16, torch.bfloat16)


class Runner:
    """Runs a network on images that stay the caller's.

    A network that changes its input in place (to normalize it, say) is given a copy. Whether it does is seen once for
    training and once for evaluation, in the first pass of each, on a copy.
    """

    def __init__(self) -> None:
        self._changes_input: dict[bool, bool] = {}

    def __call__(self, network: nn.Module, images: Tensor) -> SegOutput:
        """Return the output of ``network``, always the same one, for images (N, 3, H, W)."""
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
    """Return the output of a network, for images in the dtype of its weights.

    One in half precision computes as it is, outside autocast. One that runs several networks says ``runs_members`` and
    does this for each.
    """
    if getattr(network, "runs_members", False) or not images.is_floating_point():
        return read_output(network(images))
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), images.dtype)
    with torch.autocast(images.device.type, enabled=False) if dtype in HALF else nullcontext():
        return read_output(network(images.to(dtype)))


def version(tensor: Tensor) -> int | None:
    """Return how often a tensor was changed in place; None for one of inference mode, which does not know."""
    return None if tensor.is_inference() else tensor._version
