"""Modes of networks: evaluation for a while, what does not learn, and what a pass in training mode changes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network in eval mode and restore the mode of every module afterwards."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def trains(network: nn.Module) -> bool:
    """Return True if a module of the network is in training mode."""
    if torch.compiler.is_compiling():  # few checks, because a compiled Distiller repeats them in every step
        return network.training
    return any(module.training for module in network.modules())


def rest(network: nn.Module) -> None:
    """Put the modules inside a network whose parameters are all frozen in eval mode. One without parameters follows."""
    for module in network.modules():
        learns = [parameter.requires_grad for parameter in module.parameters()]
        if module is not network and learns and not any(learns):
            module.eval()


class State:
    """What a pass in training mode changes: buffers, and the generators of random numbers."""

    def __init__(self, network: nn.Module) -> None:
        self._buffers = [(buffer, buffer.detach().clone()) for buffer in network.buffers()]
        self._device = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
        self._cpu = torch.get_rng_state()
        self._gpu = torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None

    def restore(self) -> None:
        """Set everything to what it was."""
        with torch.no_grad():
            for buffer, value in self._buffers:
                buffer.copy_(value)
        torch.set_rng_state(self._cpu)
        if self._gpu is not None:
            torch.cuda.set_rng_state(self._gpu, self._device)
