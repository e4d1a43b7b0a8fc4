"""Parameters and buffers that two networks share: the same tensors, or different tensors in the same memory."""

from collections import defaultdict
from itertools import chain

from torch import Tensor, nn
from torch.nn.parameter import is_lazy


def shared_tensors(one: nn.Module, other: nn.Module) -> list[tuple[str, str]]:
    """Return (name in ``one``, name in ``other``) of every parameter and buffer that two networks share.

    A slice of a tensor shares memory with the tensor. Tensors that occupy separate parts of one storage do not.
    """
    by_memory = defaultdict(list)
    for name, tensor in _tensors(other):
        by_memory[_memory(tensor)].append((name, tensor))
    return [
        (name, other_name)
        for name, tensor in _tensors(one)
        for other_name, candidate in by_memory.get(_memory(tensor), ())
        if tensor is candidate or _overlap(tensor, candidate)
    ]


def _tensors(network: nn.Module) -> chain[tuple[str, Tensor]]:
    return chain(network.named_parameters(), network.named_buffers())


def _memory(tensor: Tensor) -> tuple[str, int]:
    """Return a key of a tensor's memory: the storage's address, or the tensor's id if it has no memory yet."""
    start = 0 if is_lazy(tensor) or tensor.is_meta else tensor.untyped_storage().data_ptr()
    return (str(tensor.device), start) if start else ("", id(tensor))


def _overlap(one: Tensor, other: Tensor) -> bool:
    (first, end), (other_first, other_end) = _extent(one), _extent(other)
    return first < other_end and other_first < end


def _extent(tensor: Tensor) -> tuple[int, int]:
    """Return the address of a tensor's first byte and the address after its last byte."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    first = tensor.data_ptr()
    return first, first + (last + 1) * tensor.element_size()
