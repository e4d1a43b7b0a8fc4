"""What the losses keep and compute together is the same in every process, and what one process would compute."""

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from segdistill.losses import CRD, I2CKD, OFD

State = dict[str, Tensor]


def crd(own: slice) -> State:
    """Two steps: into the queues, then by number."""
    torch.manual_seed(0)
    loss = CRD(student_channels=3, teacher_channels=3, size=5, negatives=5, dim=4)
    student, teacher = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))[:, own]
    loss(student, teacher)
    numbers = {"indices": torch.tensor([3, 4, 1]), "contrast": torch.tensor([[0, 2], [3, 0], [1, 2]])}
    loss(-student, teacher, **{name: value[own] for name, value in numbers.items()})
    return loss.state_dict()


def ofd(own: slice) -> State:
    """One step; the connector's statistics are a process's own."""
    torch.manual_seed(0)
    loss = OFD(student_channels=[3], teacher_channels=[3])
    maps = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))[own]
    loss((maps,), (maps,))
    return {name: value for name, value in loss.state_dict().items() if "norm" not in name}


def i2ckd(own: slice) -> State:
    """The value and the gradient of the own images; classes 3 and 4 are in the first image only."""
    rng = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 3, 6, 4, 4, generator=rng, dtype=torch.float64)
    labels = torch.randint(0, 3, (3, 4, 4), generator=rng)
    labels[0] += 2
    labels[2, 0] = 255
    student = student[own].requires_grad_()
    value = I2CKD(num_classes=6, margin=0.5, across_processes=True)(student, teacher[own], labels[own])
    value.backward()
    return {"value": value.detach(), "gradient": student.grad}


def one_process(rank: int, file: str) -> None:
    """One image here, two there; leave what is kept beside ``file``."""
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    own = slice(0, 1) if rank == 0 else slice(1, 3)
    torch.save([crd(own), ofd(own), i2ckd(own)], f"{file}.{rank}")
    if rank == 0:  # the first process scores alone; an exchange would wait for the second
        CRD(student_channels=3, teacher_channels=3, size=5).eval()(*torch.ones(2, 1, 3))
    dist.destroy_process_group()


def test_two_processes_keep_and_compute_what_one_would(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(one_process, (str(tmp_path / "store"),), nprocs=2)
    everything = slice(0, 3)
    first, second = (torch.load(tmp_path / f"store.{rank}") for rank in range(2))
    for one, other, alone in zip(first[:2], second[:2], (crd(everything), ofd(everything)), strict=True):
        for name, value in alone.items():
            assert one[name].equal(other[name])
            torch.testing.assert_close(one[name], value)

    alone = i2ckd(everything)
    assert alone["value"] > 0
    for process in (first[2], second[2]):
        torch.testing.assert_close(process["value"], alone["value"])
    # DistributedDataParallel averages: the gradients of two processes count half each.
    gradient = torch.cat([first[2]["gradient"], second[2]["gradient"]]) / 2
    torch.testing.assert_close(gradient, alone["gradient"])
