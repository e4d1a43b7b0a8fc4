"""Forms of a network: with folded batch normalization, channels last in memory, in half precision."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from segdistill.speed.folding import folded


@dataclass(frozen=True)
class Form:
    """How a network runs.

    Attributes:
        folds: Batch normalization is part of the convolutions.
        channels_last: Images and weights have the channels last in memory.
        half: Under autocast to bfloat16.
    """

    folds: bool = False
    channels_last: bool = False
    half: bool = False

    def __str__(self) -> str:
        names = {"folds": "folded batch norm", "channels_last": "channels last", "half": "bfloat16"}
        return ", ".join(text for name, text in names.items() if getattr(self, name)) or "as it is"

    def of(self, network: nn.Module, images: Tensor) -> nn.Module:
        """Return a copy of a frozen network in this form; the network itself for the form that changes nothing.

        Args:
            network: The network in eval mode. It is not changed.
            images: A batch to find the layers to fold with.
        """
        if self == Form():
            return network
        result = folded(network, images) if self.folds else copy.deepcopy(network)
        if self.channels_last:
            keep_channels_last(result)
        if self.half:
            result.forward = _in_bfloat16(result.forward)
        return result


FORMS = (Form(), Form(channels_last=True), Form(folds=True), Form(folds=True, channels_last=True))
"""The forms in float32, the one that changes nothing first."""


def keep_channels_last(network: nn.Module) -> None:
    """Store the weights of a network with the channels last, and let it turn its images so."""
    network.to(memory_format=torch.channels_last)

    def turned(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        images = args[0]
        if isinstance(images, Tensor) and images.dim() == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        return (images, *args[1:])

    network.register_forward_pre_hook(turned)


def _in_bfloat16(forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(images: Tensor, *args: Any) -> Any:
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            return forward(images, *args)

    return run
