"""The cost of a network: parameters and floating-point operations."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


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
