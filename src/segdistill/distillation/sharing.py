"""Which parameters and buffers two networks share: the same tensors, or other ones over the same memory."""

from collections import defaultdict
from itertools import chain

from torch import Tensor, nn
from torch.nn.parameter import is_lazy


def shared_tensors(one: nn.Module, other: nn.Module) -> list[tuple[str, str]]:
    """Return the names of every parameter and buffer that two networks share, in ``one`` and in ``other``.

    Two tensors that lie beside each other in one file's memory share nothing; a slice of a tensor shares it.
    """
    there = defaultdict(list)
    for name, tensor in _tensors(other):
        there[_memory(tensor)].append((name, tensor))
    return [
        (name, theirs)
        for name, tensor in _tensors(one)
        for theirs, candidate in there.get(_memory(tensor), ())
        if tensor is candidate or _overlap(tensor, candidate)
    ]


def _tensors(network: nn.Module) -> chain[tuple[str, Tensor]]:
    return chain(network.named_parameters(), network.named_buffers())


def _memory(tensor: Tensor) -> tuple[str, int]:
    """Return what tells the memory of tensors apart: where it begins, or the tensor itself where it has none yet."""
    start = 0 if is_lazy(tensor) or tensor.is_meta else tensor.untyped_storage().data_ptr()
    return (str(tensor.device), start) if start else ("", id(tensor))


def _overlap(one: Tensor, other: Tensor) -> bool:
    (first, end), (other_first, other_end) = _extent(one), _extent(other)
    return first < other_end and other_first < end


def _extent(tensor: Tensor) -> tuple[int, int]:
    """Return the addresses of a tensor's first byte and of the one behind its last."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    first = tensor.data_ptr()
    return first, first + (last + 1) * tensor.element_size()
