"""Distillation the way the authors' code computes it, against ours: time and memory, on tensors of the same sizes.

A step: DeepLabV3 on ResNet-18 learns from DeepLabV3 on ResNet-101 by ``gskd`` (with kd), ``ifvd`` and ``cirkd``. The
two take turns in one process, 20 steps each, from the same weights. The losses alone are compared too, between maps at
stride 8. ``benchmarks.released`` has the losses of the authors' code.

    python -m benchmarks.against_released [METHOD ...] [--steps 20] [--device cuda]

The figures are stored in benchmarks/records, as those of ``benchmarks.bench``.
"""

import argparse
import gc
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import records, released, versions
from benchmarks.memory import peak_megabytes
from benchmarks.steps import (
    VOID,
    Size,
    build_student,
    build_teacher,
    distiller_step,
    plain_task,
    random_images,
    scene_labels,
    sgd,
)
from benchmarks.terms import STRIDE, term_work
from benchmarks.timing import Figure, Work, in_turns, ratio

TERMS = {"gskd": ("gskd",), "ifvd": ("ifvd",), "cirkd": ("cirkd_minibatch", "cirkd_memory")}
"""The methods, with the terms that each adds to kd."""


@dataclass(frozen=True)
class Comparison:
    """Time and peak memory of ours over those of the released code."""

    time: Figure
    memory: Figure


class ReleasedLoss(nn.Module):
    """The loss of a method, with the weight of the released scripts."""

    def __init__(self, method: str, size: Size) -> None:
        super().__init__()
        widths = size.channels, 2 * size.channels
        self.classes = size.classes
        self.gskd = released.GSKD(*widths) if method == "gskd" else None
        self.cirkd = released.CIRKD(*widths, size.classes) if method == "cirkd" else None

    def forward(self, student: Tensor, teacher: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        if self.gskd is not None:
            value: Tensor = 10 * self.gskd(student, teacher, teacher_logits, labels)
        elif self.cirkd is not None:
            value = self.cirkd(student, teacher, labels)
        else:
            value = 20 * released.ifvd(student, teacher, labels, self.classes)
        return value


def released_step(size: Size, device: str, method: str) -> Callable[[], None]:
    """Return a step of the released loop: cross-entropy, kd, the method, and one optimizer."""
    student, teacher = build_student(size, device), build_teacher(size, device)
    heads = _keep_head(student), _keep_head(teacher)
    loss = ReleasedLoss(method, size).to(device)
    optimizer = sgd(iter([*student.parameters(), *loss.parameters()]))
    images, labels = random_images(size, device), scene_labels(size, device)

    def step() -> None:
        with torch.no_grad():
            theirs = teacher(images)
        ours = student(images)
        total = plain_task(ours, labels) + released.kd(ours.logits, theirs.logits)
        total = total + loss(*(head.pop() for head in heads), theirs.logits, labels)
        total.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _keep_head(network: nn.Module) -> list[Tensor]:
    """Return a list that receives the input of the classifier in every forward pass."""
    kept: list[Tensor] = []
    network.get_submodule(network.roles["head"].removesuffix(":input")).register_forward_pre_hook(  # type: ignore[index]
        lambda _, args: kept.append(args[0])
    )
    return kept


def released_work(size: Size, device: str, method: str) -> Callable[[], None]:
    """Return the forward and backward pass of the released loss alone; the teacher is right wherever labels are."""
    shape = size.height // STRIDE, size.width // STRIDE
    student = torch.randn(size.batch, size.channels, *shape, device=device, requires_grad=True)
    teacher = torch.randn(size.batch, 2 * size.channels, *shape, device=device)
    labels = scene_labels(size, device)
    small = released.at_stride(labels, student)
    logits = F.one_hot(small.where(small != VOID, 0), size.classes).permute(0, 3, 1, 2).float()
    loss = ReleasedLoss(method, size).to(device)
    return lambda: loss(student, teacher, logits, labels).backward()


def our_work(size: Size, device: str, method: str) -> Callable[[], None]:
    """Return the forward and backward pass of our terms."""
    works = [term_work(name, size, device) for name in TERMS[method]]
    return lambda: [work() for work in works] and None


def compare(ours: Work, theirs: Work, device: str, rounds: int) -> Comparison:
    sides = {"ours": ours, "theirs": theirs}
    times = in_turns(sides, rounds, device)
    megabytes = {name: peak_megabytes(work, device) for name, work in sides.items()}
    return Comparison(ratio(times["ours"], times["theirs"]), Figure.of([megabytes["ours"] / megabytes["theirs"]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(TERMS), help=f"of {', '.join(TERMS)} (default: all)")
    parser.add_argument("--steps", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each loss alone (default: %(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    device = args.device
    size, alone = (Size(2, 256, 256), Size(2, 512, 512)) if device == "cpu" else (Size(4, 512, 1024),) * 2
    about = {**versions.about(device), "device": device, "rounds": args.steps, "sizes": {"step": str(size)}}
    about["sizes"]["alone"] = str(alone)
    print(about)
    sections: records.Sections = {}
    for method in args.methods:
        compared = {
            "step": compare(
                distiller_step(size, device, method, teacher=build_teacher(size, device)),
                released_step(size, device, method), device, args.steps,
            ),
            "loss": compare(
                our_work(alone, device, method), released_work(alone, device, method), device, args.rounds
            ),
        }  # fmt: skip
        for what, result in compared.items():
            print(
                f"{method}, {what}: ours / released: time {result.time}, memory {result.memory.median:.3f}", flush=True
            )
            sections.setdefault(f"{what}: time, ours / released", {})[method] = result.time
            sections.setdefault(f"{what}: memory, ours / released", {})[method] = result.memory
        gc.collect()
    records.write(records.record_file(about, "released"), about, sections)


if __name__ == "__main__":
    main()
