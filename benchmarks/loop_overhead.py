"""Cost of the training loop: a step of ours against a bare PyTorch loop that does the same work.

Same networks, batches, loss and optimiser, one process, steps interleaved; the ratio of the medians counts. Ours
carries the Distiller with hooks, Fabric, seeding, the schedule and the step's bookkeeping.

    python benchmarks/loop_overhead.py [--steps 30]
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from segdistill import Distiller, Term, losses, models
from segdistill.outputs import read_output
from segdistill.recipes import Train
from segdistill.training.loop import Progress, Training
from segdistill.training.optimizer import build_optimizer

CLASSES, BATCH, CROP = 11, 4, (160, 192)


def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, *CROP, generator=generator)
    labels = torch.randint(CLASSES, (BATCH, *CROP), generator=generator)
    while True:
        yield images, labels


def bare_step(
    student: torch.nn.Module, teacher: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> Callable[[], None]:
    source = batches()

    def step() -> None:
        images, labels = next(source)
        with torch.no_grad():
            theirs = read_output(teacher(images)).logits
        ours = read_output(student(images)).logits
        upsampled = F.interpolate(ours, CROP, mode="bilinear", align_corners=True)
        total = F.cross_entropy(upsampled, labels, ignore_index=255)
        log_p, log_q = F.log_softmax(ours, 1), F.log_softmax(theirs, 1)
        total = total + F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(1).mean()
        total.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def our_step(student: torch.nn.Module, teacher: torch.nn.Module, train: Train) -> Callable[[], None]:
    fabric = Fabric(accelerator="cpu", devices=1)
    distiller = Distiller(student, teacher, terms={"kd": Term(losses.KD())})
    module, optimizer = fabric.setup(distiller, build_optimizer(distiller.parameters(), train))
    training = Training(
        fabric=fabric, distiller=distiller, stream=None, train=train, seed=0, folder=None,
        validate=None, save_student=None, narrator=None,
    )  # type: ignore[arg-type]  # fmt: skip
    distiller.train()
    source, progress = batches(), Progress(step=1)
    return lambda: training.take_step(module, [optimizer], source, progress) and None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    steps = parser.parse_args().steps
    train = Train(iterations=10_000, batch_size=BATCH, learning_rate=1e-3)
    student = models.build("deeplabv3/tu-mobilenetv2_035", CLASSES, encoder_output_stride=8, decoder_channels=64)
    teacher = models.build("deeplabv3_mobilenetv2", CLASSES).eval().requires_grad_(False)
    other = copy.deepcopy(student)
    ours = our_step(student, teacher, train)
    bare = bare_step(other.train(), copy.deepcopy(teacher), build_optimizer(other.parameters(), train))
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    for turn in range(steps + 3):
        for name, step in (("bare", bare), ("ours", ours)) if turn % 2 else (("ours", ours), ("bare", bare)):
            began = time.process_time()  # processor time: another job on the machine does not count
            step()
            if turn >= 3:
                times[name].append(time.process_time() - began)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"bare loop {medians['bare']:.4f} s, ours {medians['ours']:.4f} s of processor time a step ({steps} steps)")
    print(f"ratio {medians['ours'] / medians['bare']:.4f} (goal: at most 1.02)")


if __name__ == "__main__":
    main()
