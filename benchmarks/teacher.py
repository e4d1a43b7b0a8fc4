"""The teacher's forward pass as it is used, relative to the same network in eager mode."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks.timing import Figure, in_turns, ratio
from segdistill import models

NETWORKS = ("deeplabv3_resnet101", "deeplabv3_mobilenetv2")


def as_used(teacher: nn.Module, images: Tensor) -> Callable[[Tensor], object]:
    """Return the teacher's forward pass as it is used: here with folded batch norm and channels_last."""
    folded = fold_batch_norm(teacher, images).to(memory_format=torch.channels_last)
    return lambda images: folded(images.contiguous(memory_format=torch.channels_last))


def relative_times(images: Tensor, rounds: int, device: str, classes: int = 19) -> dict[str, Figure]:
    """Return the time of each network as it is used, over that of the plain network.

    Raises:
        RuntimeError: If the two disagree on the class of more than 0.1 % of the positions.
    """
    figures = {}
    for name in NETWORKS:
        torch.manual_seed(0)
        plain = models.build(name, classes).to(device).eval()
        with torch.inference_mode():
            used = as_used(plain, images)
            same = (plain(images).logits.argmax(1) == used(images).logits.argmax(1)).float().mean()  # type: ignore[attr-defined]
            if same < 0.999:
                raise RuntimeError(f"{name} as used gives the same class at {same:.2%} of the positions only")
            sides = {"plain": lambda plain=plain: plain(images), "used": lambda used=used: used(images)}
            times = in_turns(sides, rounds, device)
        figures[name] = ratio(times["used"], times["plain"])
    return figures


def fold_batch_norm(network: nn.Module, images: Tensor) -> nn.Module:
    """Return a copy in which every batch norm that reads a convolution's output is part of the convolution."""
    network = copy.deepcopy(network).eval()
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # with the output, so that its id is not used again
    pairs: list[tuple[nn.Conv2d, nn.Module]] = []

    def after_convolution(module: nn.Module, _: object, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        made[id(output)] = module, output

    def before_norm(module: nn.Module, args: tuple[Tensor]) -> None:
        if id(args[0]) in made:
            pairs.append((made[id(args[0])][0], module))

    handles = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(after_convolution))
        elif type(module) is nn.BatchNorm2d:
            handles.append(module.register_forward_pre_hook(before_norm))
    with torch.no_grad():
        network(images[:1])
    for handle in handles:
        handle.remove()
    paths = {module: path for path, module in network.named_modules()}
    for convolution, norm in pairs:
        network.set_submodule(paths[convolution], fuse_conv_bn_eval(convolution, norm))
        network.set_submodule(paths[norm], nn.Identity())
    return network
