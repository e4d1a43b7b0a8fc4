"""Average pooling in a form that is right for every size in an ONNX file."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MatrixPooling(nn.Module):
    """The values of ``nn.AdaptiveAvgPool2d``.

    The exporter of PyTorch unrolls that layer for the size of the example: the ONNX file of PSPNet then fails for every
    other size, without a warning while it is written.

    Args:
        rows, columns: The size of the pooled map.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, x: Tensor) -> Tensor:
        """Return the means of a map (N, C, H, W) as (N, C, rows, columns)."""
        return means(self.rows, x.shape[-2], x) @ x @ means(self.columns, x.shape[-1], x).T


def means(count: int, length: int, like: Tensor) -> Tensor:
    """Return the (count, length) matrix whose row i is the mean over ``floor(i n / k) <= j < ceil((i + 1) n / k)``."""
    cell = torch.arange(count, device=like.device)
    start = torch.div(cell * length, count, rounding_mode="floor")
    stop = torch.div((cell + 1) * length + count - 1, count, rounding_mode="floor")
    position = torch.arange(length, device=like.device)
    inside = (position >= start[:, None]) & (position < stop[:, None])
    return inside.to(like.dtype) / (stop - start)[:, None].to(like.dtype)


class CeilPooling(nn.Module):
    """The values of ``nn.AvgPool2d`` with ``ceil_mode=True`` and without padding, for windows that cover the map.

    ONNX Runtime 1.32 divides by the whole window where it exceeds the map; PyTorch divides by the part inside.

    Args:
        window, stride: Height and width each.
    """

    def __init__(self, window: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        self.window, self.stride = window, stride

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled map of a map (N, C, H, W)."""
        (rows, columns), (down, right) = self.window, self.stride
        excess = (0, _excess(x.shape[-1], columns, right), 0, _excess(x.shape[-2], rows, down))
        sums, parts = (F.avg_pool2d(F.pad(each, excess), self.window, self.stride) for each in (x, torch.ones_like(x)))
        return sums / parts


def _excess(length: int, window: int, stride: int) -> int:
    """Return ``(window - length) % stride`` without a negative number, whose remainder some runtimes make negative."""
    return (stride - (length + -window % stride) % stride) % stride


@contextmanager
def replaced_pooling(network: nn.Module) -> Iterator[None]:
    """Replace the average pooling of a network that ONNX files get wrong, until the block ends."""
    replaced: list[tuple[nn.Module, str, nn.Module]] = []
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if (new := _replacement(child)) is not None:
                setattr(parent, name, new)
                replaced.append((parent, name, child))
    try:
        yield
    finally:
        for parent, name, child in replaced:
            setattr(parent, name, child)


def _replacement(module: nn.Module) -> nn.Module | None:
    if isinstance(module, nn.AdaptiveAvgPool2d):
        rows, columns = _pair(module.output_size)
        return None if rows is None or columns is None or rows == columns == 1 else MatrixPooling(rows, columns)
    if type(module) is nn.AvgPool2d and module.ceil_mode and module.divisor_override is None:
        window, stride, padding = (_pair(each) for each in (module.kernel_size, module.stride, module.padding))
        if padding == (0, 0) and window[0] >= stride[0] and window[1] >= stride[1]:
            return CeilPooling(window, stride)
    return None


def _pair(value: Any) -> tuple[Any, Any]:
    return value if isinstance(value, tuple) else (value, value)
