"""Class scores of whole images: upsampling of the logits, several scales, mirrored images, sliding windows."""

from collections.abc import Callable
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.distillation.running import run
from segdistill.outputs import aligns_corners
from segdistill.recipes.schema import Evaluation

Forward = Callable[[nn.Module, Tensor], Tensor]

ONE_PASS = Evaluation()
"""The default protocol: whole images at one scale."""


def forward_logits(network: nn.Module, images: Tensor) -> Tensor:
    """Return the logits of a network."""
    return run(network, images).logits


def class_scores(
    network: nn.Module,
    images: Tensor,
    size: tuple[int, int],
    protocol: Evaluation = ONE_PASS,
    forward: Forward = forward_logits,
) -> Tensor:
    """Return the class scores of every pixel, of shape (N, C, *size).

    The logits are upsampled bilinearly, with the corners aligned if the network does so (see
    :func:`segdistill.outputs.aligns_corners`). With several scales or mirrored images, the scores are the sum of the
    class probabilities of all passes; with a single pass they are the logits.

    Args:
        network: The network, in eval mode.
        images: The images, of shape (N, 3, H, W).
        size: The height and width of the scores.
        protocol: The section ``evaluation`` of a recipe; by default one pass over the whole image.
        forward: How the network is called: a function of network and images that returns logits.
    """
    passes = _passes(protocol)
    if passes == [(1.0, False)]:
        return _logits(network, images, size, protocol, forward)
    total = images.new_zeros(())
    for scale, mirrored in passes:
        scaled = _resized(images, scale)
        logits = _logits(network, scaled.flip(-1) if mirrored else scaled.clone(), size, protocol, forward)
        probabilities = logits.softmax(1)
        total = total + (probabilities.flip(-1) if mirrored else probabilities)
    return total


def is_one_pass(protocol: Evaluation, images: Tensor) -> bool:
    """Return True if the scores are the logits of one pass over whole images."""
    return _passes(protocol) == [(1.0, False)] and (protocol.window is None or _fits(images, protocol.window))


def _passes(protocol: Evaluation) -> list[tuple[float, bool]]:
    return list(product(protocol.scales, (False, True) if protocol.flip else (False,)))


def _fits(images: Tensor, window: tuple[int, int]) -> bool:
    return images.shape[-2] <= window[0] and images.shape[-1] <= window[1]


def _resized(images: Tensor, scale: float) -> Tensor:
    if scale == 1.0:
        return images
    size = [max(1, round(side * scale)) for side in images.shape[-2:]]
    return F.interpolate(images, size, mode="bilinear", antialias=scale < 1)


def _logits(
    network: nn.Module, images: Tensor, size: tuple[int, int], protocol: Evaluation, forward: Forward
) -> Tensor:
    """Return the logits at ``size``, float32, of whole images or of windows."""
    window = protocol.window
    if window is None or _fits(images, window):
        return _upsampled(network, images, size, forward)
    whole = (images.shape[-2], images.shape[-1])
    height, width = (min(side, full) for side, full in zip(window, whole, strict=True))
    total: Tensor | None = None  # the number of classes is known after the first window
    count = torch.zeros((1, 1, *whole), device=images.device)
    strides = protocol.stride or (2 * height // 3, 2 * width // 3)
    for top, left in product(*map(_starts, whole, (height, width), strides)):
        rows, columns = slice(top, top + height), slice(left, left + width)
        logits = _upsampled(network, images[..., rows, columns].clone(), (height, width), forward)
        if total is None:
            total = logits.new_zeros((*logits.shape[:2], *whole))
        total[..., rows, columns] += logits
        count[..., rows, columns] += 1
    assert total is not None
    mean = total / count
    return mean if whole == size else F.interpolate(mean, size, mode="bilinear", align_corners=aligns(network))


def _starts(length: int, window: int, stride: int) -> list[int]:
    """Return the starts of windows that cover a side, one every ``stride``; the last window ends at the border."""
    return [*range(0, length - window, max(1, stride)), length - window]


def _upsampled(network: nn.Module, images: Tensor, size: tuple[int, int], forward: Forward) -> Tensor:
    return F.interpolate(forward(network, images).float(), size, mode="bilinear", align_corners=aligns(network))


def aligns(network: nn.Module) -> bool:
    """Return whether the corners are aligned when the network's logits are upsampled."""
    return aligns_corners(network)
