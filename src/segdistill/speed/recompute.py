"""Activations of a network computed again in the backward pass, instead of held since the forward pass."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute(network: nn.Module) -> int:
    """Let the blocks of a network hold only their input for the backward pass, and compute the rest again there.

    Values and gradients stay the same. The statistics of batch normalization are updated in the first pass only.

    Returns:
        The number of blocks; 0 if the network has none.
    """
    found = blocks(network)
    for block in found:
        block.forward = _recomputed(block, block.forward)
    return len(found)


def blocks(network: nn.Module) -> list[nn.Module]:
    """Return the outermost modules in sequences and lists that have two layers or more, such as residual blocks."""
    found = []
    for module in network.children():
        if isinstance(network, nn.Sequential | nn.ModuleList) and _layers(module) >= 2 and not _is_list(module):
            found.append(module)
        else:
            found += blocks(module)
    return found


def _is_list(module: nn.Module) -> bool:
    """Return True for a container that is never called, or that holds blocks itself."""
    if isinstance(module, nn.ModuleList | nn.ModuleDict):
        return True
    return isinstance(module, nn.Sequential) and any(_layers(child) >= 2 for child in module)


def _layers(module: nn.Module) -> int:
    return sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in module.modules())


def _recomputed(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _KeptStatistics(module)

    def run(*args: Any, **kwargs: Any) -> Any:
        if not module.training:
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)

    return run


class _KeptStatistics:
    """A context in which the running statistics of batch normalization stay. It can be entered again and again."""

    def __init__(self, module: nn.Module) -> None:
        self.norms = [norm for norm in module.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]

    def __enter__(self) -> None:
        self.before = [(norm.momentum, norm.num_batches_tracked) for norm in self.norms]
        for norm in self.norms:  # a copy counts on, because nn.SyncBatchNorm demands a counter
            count = norm.num_batches_tracked
            norm.momentum, norm.num_batches_tracked = 0.0, None if count is None else count.clone()

    def __exit__(self, *_: object) -> None:
        for norm, (momentum, count) in zip(self.norms, self.before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
