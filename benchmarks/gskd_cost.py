"""What gskd adds to a training step: its time beside that of the student's step, as a ratio in one process.

One side is gskd, forward and backward, between the head features of the papers' student (128 channels) and
teacher (256) for 512x1024 crops at stride 8, with all 19 classes in every image. The other is the step of the
student alone, deeplabv3_resnet18 on crops of that size: forward, task loss, backward, SGD. The two take
turns, so that a slow moment of the machine meets both. The goal is at most 3 %.

    python benchmarks/gskd_cost.py [--batch 2] [--rounds 5] [--device cpu]
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F

from segdistill import losses, models

CLASSES, HEIGHT, WIDTH, STRIDE = 19, 512, 1024, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=2, help="images; 2 needs about 6 GB (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default: %(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    sides = {
        "training step": training_step(args.batch, args.device),
        "gskd": gskd_step(args.batch, args.device),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():  # warm up
        measure(side, args.device)
    for _ in range(args.rounds):
        for name, side in sides.items():
            seconds[name].append(measure(side, args.device))

    print(f"batch {args.batch}, {args.rounds} rounds, {args.device}, torch {torch.__version__}")
    print(f"{'':15}{'median ms':>12}{'least ms':>12}{'most ms':>12}")
    for name, values in seconds.items():
        row = (1e3 * value for value in (median(values), min(values), max(values)))
        print(f"{name:15}" + "".join(f"{value:12.1f}" for value in row))
    print(f"gskd / training step = {100 * median(seconds['gskd']) / median(seconds['training step']):.2f} %")


def training_step(batch: int, device: str) -> Callable[[], None]:
    """Return one step of the student alone."""
    student = models.build("deeplabv3_resnet18", CLASSES).to(device).train()
    optimiser = torch.optim.SGD(student.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    images = torch.randn(batch, 3, HEIGHT, WIDTH, device=device)
    labels = scene_labels(batch, device)

    def step() -> None:
        optimiser.zero_grad()
        losses.cross_entropy(student(images).logits, labels=labels).backward()
        optimiser.step()

    return step


def gskd_step(batch: int, device: str) -> Callable[[], None]:
    """Return gskd's own forward and backward."""
    size = (HEIGHT // STRIDE, WIDTH // STRIDE)
    student = torch.randn(batch, 128, *size, device=device, requires_grad=True)
    teacher = torch.randn(batch, 256, *size, device=device)
    labels = scene_labels(batch, device)
    loss = losses.GSKD()

    def step() -> None:
        student.grad = None
        loss(student, teacher, labels).backward()

    return step


def scene_labels(batch: int, device: str) -> torch.Tensor:
    """Blocks of 32 pixels of all classes, a twentieth void."""
    blocks = torch.randint(0, CLASSES + 1, (batch, 1, HEIGHT // 32, WIDTH // 32), device=device)
    blocks[blocks == CLASSES] = 255
    return F.interpolate(blocks.float(), (HEIGHT, WIDTH), mode="nearest")[:, 0].long()


def measure(side: Callable[[], None], device: str) -> float:
    start = time.perf_counter()
    side()
    if device != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
