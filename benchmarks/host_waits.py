"""Operations that make the processor wait for an accelerator, counted on any device.

>>> with HostWaits() as waits:
...     loss = work()
>>> waits.total, waits.counts
"""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten

WAITING = {
    aten.nonzero: "nonzero",
    aten._local_scalar_dense: "item",
    aten._unique: "unique",
    aten._unique2: "unique",
    aten.unique_dim: "unique",
    aten.unique_consecutive: "unique",
    aten.unique_dim_consecutive: "unique",
    aten.masked_select: "masked_select",
    aten.bincount: "bincount",
    aten.equal: "equal",
}
"""Operations whose result, or its shape, the processor must read."""

INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


class HostWaits(TorchDispatchMode):
    """Count the waits of the code in a ``with`` block, backward passes included.

    Counted are data-dependent shapes and values (``WAITING``), indexing with a boolean mask, ``repeat_interleave``
    without ``output_size``, tensors made from Python values, which are copied from host to device, and, on an
    accelerator, copies between devices. ``tolist`` and ``numpy`` of a tensor on the CPU are not seen.

    Attributes:
        counts: The number of waits of each kind.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self.counts.total()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if kind := _kind(func, args, kwargs, result):
            self.counts[kind] += 1
        return result


def _kind(func: Any, args: Any, kwargs: Any, result: Any) -> str | None:
    operation = func.overloadpacket
    if operation in WAITING:
        return WAITING[operation]
    if operation in INDEXING and any(isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1]):
        return "boolean index"
    if operation is aten.repeat_interleave and isinstance(args[0], Tensor) and kwargs.get("output_size") is None:
        return "repeat_interleave"
    if operation is aten.lift_fresh:
        return "tensor from Python values"
    if operation in (aten._to_copy, aten.copy_):
        source, target = (args[0], result) if operation is aten._to_copy else (args[1], args[0])
        if source.device.type != target.device.type and not kwargs.get("non_blocking", False):
            return "copy between devices"
    return None
