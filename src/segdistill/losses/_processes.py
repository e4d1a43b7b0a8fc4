"""Exchange between the processes of a run, for losses with a memory. A single process exchanges nothing."""

import torch
import torch.distributed as dist
from torch import Tensor


def gathered(*rows: Tensor) -> tuple[Tensor, ...]:
    """Concatenate each of ``rows`` over the processes. All have one length, which may differ between processes."""
    if not (dist.is_available() and dist.is_initialized()):
        return rows
    counts = [torch.zeros((), dtype=torch.long, device=rows[0].device) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, torch.tensor(len(rows[0]), device=rows[0].device))
    sizes = torch.stack(counts).tolist()
    return tuple(_gather(x, sizes) for x in rows)


def _gather(rows: Tensor, sizes: list[int]) -> Tensor:
    """Concatenate ``rows`` of all processes, ``sizes[i]`` of process i. They are padded for the exchange."""
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])
    padded[: len(rows)] = rows
    all_rows = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(all_rows, padded)
    return torch.cat([x[:size] for x, size in zip(all_rows, sizes, strict=True)])


def summed_with_gradient(values: Tensor) -> Tensor:
    """Return the sum of ``values`` over the processes, for a loss that every process computes from it alike.

    The gradient at the ``values`` of a process equals the gradient at the sum times the number of processes. The mean
    over processes, which DistributedDataParallel takes of the parameters' gradients, is then the gradient of the loss.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return values
    return summed(values) + dist.get_world_size() * (values - values.detach())


def summed(values: Tensor) -> Tensor:
    """Return the sum of ``values`` over the processes, without a graph."""
    values = values.detach().clone()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(values)
    return values


def summed_everywhere(values: Tensor) -> Tensor:
    """Return the sum of ``values`` over the processes, for statistics on which the loss of every process depends.

    The gradient at the ``values`` of a process is the sum of those of all processes, as in ``nn.SyncBatchNorm``.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return values
    result: Tensor = _Sum.apply(values)
    return result


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        return summed(values)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return summed_everywhere(gradient)
