"""Distill in two processes with DistributedDataParallel (gloo, on a CPU).

Wrap the Distiller, not the student: adapters and losses with parameters need their gradients averaged too.
"""

import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from segdistill import Distiller, Term, losses

PROCESSES = 2


def network(width: int) -> nn.Module:
    """Return a small network for four classes."""
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 4, 1))


def train(rank: int, rendezvous: str) -> None:
    """Train in one process, each on its own images."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=PROCESSES)
    torch.manual_seed(0)  # the teacher must be the same in all processes; DDP does not synchronize it
    terms = {"kd": Term(losses.KD()), "fitnet": Term(losses.FitNet(), on="head")}
    distiller = Distiller(network(8), network(16), terms)
    ddp = DistributedDataParallel(distiller)
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1)
    torch.manual_seed(rank)
    for _ in range(3):
        images, labels = torch.randn(2, 3, 32, 32), torch.randint(4, (2, 32, 32))
        out = ddp(images, labels)
        optimizer.zero_grad()
        out.total.backward()
        optimizer.step()
    weight = next(distiller.student.parameters()).detach()
    weights = [torch.empty_like(weight) for _ in range(PROCESSES)]
    dist.all_gather(weights, weight)
    if rank == 0:
        print("students are equal:", torch.equal(*weights))
    dist.destroy_process_group()


def main() -> None:
    """Start both processes."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(train, args=((Path(folder) / "rendezvous").as_uri(),), nprocs=PROCESSES)


if __name__ == "__main__":
    main()
