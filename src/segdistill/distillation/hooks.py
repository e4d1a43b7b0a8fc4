"""Hooks that store features during a forward pass."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from segdistill.distillation.running import version
from segdistill.outputs import unwrap


@dataclass(frozen=True)
class Tap:
    """One tensor in a network: the output of the module at ``path``, its first input, or an item of either.

    The channels are the second dimension, or the last one if ``is_last``.
    """

    path: str
    is_input: bool = False
    item: str | None = None
    is_last: bool = False


@dataclass
class Pass:
    """A reader's current forward pass.

    Attributes:
        features: The features that the hooks have stored so far; None outside of a pass.
        calls: The number of calls of hooks so far.
        last: The number of calls after which the pass ends; None for no end.
    """

    features: dict[str, Tensor] | None = None
    calls: int = 0
    last: int | None = None


class Complete(BaseException):
    """Ends a pass of which no more is needed. No error, so no network catches it."""


class Hook:
    """A forward hook that stores one feature. It is a class, so that a hooked network can still be pickled.

    Args:
        current: The pass of the reader.
        name: The name of the feature.
        tap: The tensor to store.

    Attributes:
        copies: Whether a copy is stored, because the network overwrites the feature.
        version: How often the feature had been changed when it was stored; see :func:`running.version`.
    """

    def __init__(self, current: Pass, name: str, tap: Tap) -> None:
        self.current, self.name, self.tap = current, name, tap
        self.copies = False
        self.version: int | None = None

    def __call__(
        self, module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object = None
    ) -> None:
        """Store the feature, and end the pass if it was the last one."""
        if self.current.features is None:
            return
        value = next(iter((*args, *kwargs.values())), None) if self.tap.is_input else output
        if self.tap.item is not None:
            value = _item(value, self.tap.item)
        if isinstance(value, Tensor):
            self.version = version(value)
            if self.tap.is_last and value.dim() == 4:
                value = value.permute(0, 3, 1, 2)
            self.current.features[self.name] = value.clone() if self.copies else value
        self.current.calls += 1
        if self.current.calls == self.current.last and not torch.compiler.is_compiling():
            raise Complete


def register(network: nn.Module, hook: Hook) -> RemovableHandle:
    """Add a hook to the module that its tap names."""
    module = unwrap(network).get_submodule(hook.tap.path)
    if hook.tap.is_input:
        return module.register_forward_pre_hook(hook, with_kwargs=True)
    return module.register_forward_hook(hook, with_kwargs=True)


def remove(handles: list[RemovableHandle]) -> None:
    """Remove hooks from their modules."""
    for handle in handles:
        handle.remove()


def _item(value: object, item: str) -> object:
    """Return an item of a list, tuple or dict, or of its items: ``"0][2"`` is item 2 of item 0."""
    first, _, rest = item.partition("][")
    if rest:
        return _item(_item(value, first), rest)
    if isinstance(value, dict):
        return value.get(item)
    if isinstance(value, list | tuple) and item.lstrip("-").isdigit() and -len(value) <= int(item) < len(value):
        return value[int(item)]
    return None
