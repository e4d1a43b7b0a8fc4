"""The cost of a network: parameters and floating-point operations."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from segdistill.errors import FOREIGN

Measured = TypeVar("Measured")
Size = tuple[int, int]


def count_parameters(network: nn.Module) -> int:
    """Return the number of parameters, an auxiliary head included."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_flops(network: nn.Module, size: tuple[int, int]) -> int:
    """Return the number of floating-point operations for one image of ``size`` (height, width).

    Only convolutions and matrix products count, including those of attention. A multiplication and an addition are two
    operations.
    """
    parameter = next(network.parameters(), None)
    device = "meta" if parameter is not None and parameter.is_meta else "cpu"  # a copy on "meta" needs no memory
    duplicate = copy.deepcopy(network).to(device).float().eval()
    with torch.no_grad(), _attention_in_products(), FlopCounterMode(display=False) as counter:
        duplicate(torch.zeros(1, 3, *size, device=device))
    return int(counter.get_total_flops())


def of_image_or_window(measured: Callable[[Size], Measured], size: Size, window: Size | None) -> tuple[Measured, Size]:
    """Return a measurement of one image, or of one window if the network does not take the image, and the size.

    Args:
        measured: A function of height and width.
        size: The height and width of the image.
        window: The height and width of the windows in which networks are scored; None for whole images.
    """
    try:
        return measured(size), size
    except FOREIGN:
        if window is None:
            raise
    size = (min(size[0], window[0]), min(size[1], window[1]))
    return measured(size), size


@contextmanager
def _attention_in_products() -> Iterator[None]:
    """Compute attention as separate matrix products, which the counter counts.

    It counts fused kernels in newer versions of PyTorch only, and the fast path of transformer layers in none.
    """
    is_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fast)
