"""Batch normalization folded into the convolution before it, for a network that no longer learns."""

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def folded(network: nn.Module, images: Tensor) -> nn.Module:
    """Return a copy of a network in eval mode, in which convolutions contain the batch normalization after them.

    A pass of ``images`` shows which normalization gets the output of which convolution. Paths of modules stay: a folded
    normalization passes its input on, through the activation that timm's layers contain. The output of a folded
    convolution is the normalized one, so a feature that is read there changes. Compare before use.

    Args:
        network: The network; it is not changed.
        images: A batch, shape (N, 3, H, W).
    """
    result = copy.deepcopy(network).eval()
    for convolution, norm in _pairs(result, images):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        convolution.weight, convolution.bias = weight, bias
        norm.forward = _after(norm)  # type: ignore[method-assign]
    return result.requires_grad_(False)


def _pairs(network: nn.Module, images: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return each convolution with the normalization that gets its output, if both are called once in a pass."""
    producers: dict[int, nn.Conv2d] = {}
    outputs: list[Tensor] = []  # kept, so that no other tensor gets the identity of one of them
    calls: Counter[nn.Module] = Counter()
    pairs: dict[nn.BatchNorm2d, nn.Conv2d] = {}

    def made(module: nn.Module, _: Any, output: Any) -> None:
        calls[module] += 1
        if isinstance(module, nn.Conv2d) and isinstance(output, Tensor):
            producers[id(output)] = module
            outputs.append(output)

    def reads(module: nn.Module, args: Any) -> None:
        convolution = producers.get(id(args[0])) if args else None
        if isinstance(module, nn.BatchNorm2d) and convolution is not None:
            pairs[module] = convolution

    handles = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.padding_mode != "circular":
            handles.append(module.register_forward_hook(made))
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            handles += [module.register_forward_pre_hook(reads), module.register_forward_hook(made)]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    readers = Counter(pairs.values())
    return [
        (convolution, norm)
        for norm, convolution in pairs.items()
        if calls[norm] == calls[convolution] == readers[convolution] == 1
    ]


def _after(norm: nn.BatchNorm2d) -> Any:
    """Return what remains of a normalization: nothing, or the dropout and the activation of timm's layers."""
    rest = [layer for name in ("drop", "act") if isinstance(layer := getattr(norm, name, None), nn.Module)]

    def forward(x: Tensor) -> Tensor:
        for layer in rest:
            x = layer(x)
        return x

    return forward
