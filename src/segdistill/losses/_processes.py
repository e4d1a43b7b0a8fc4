"""What the processes of a run share, for losses with a memory: without several processes, nothing changes."""

import torch
import torch.distributed as dist
from torch import Tensor


def gathered(*rows: Tensor) -> tuple[Tensor, ...]:
    """Concatenate each of ``rows``, all of one length, over the processes; the length may differ between them."""
    if not (dist.is_available() and dist.is_initialized()):
        return rows
    counts = [torch.zeros((), dtype=torch.long, device=rows[0].device) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, torch.tensor(len(rows[0]), device=rows[0].device))
    sizes = torch.stack(counts).tolist()
    return tuple(_gather(x, sizes) for x in rows)


def _gather(rows: Tensor, sizes: list[int]) -> Tensor:
    """Concatenate ``rows``, of which process i has ``sizes[i]``; all are padded on the way."""
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])
    padded[: len(rows)] = rows
    everyone = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(everyone, padded)
    return torch.cat([x[:size] for x, size in zip(everyone, sizes, strict=True)])


def summed(values: Tensor) -> Tensor:
    """Sum of ``values`` over the processes; carries no graph."""
    values = values.detach().clone()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(values)
    return values
