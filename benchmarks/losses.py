"""What every loss adds to a training step: time beside that of the student's step, and peak memory.

Each loss runs as a term of a Distiller would run it, with its adapter and the objective of its own parts, forward and
backward, between maps of the papers' student (128 channels) and teacher (256) for crops of 512x1024 at stride 8,
logits of 19 classes, labels at full size. The student's step is deeplabv3_resnet18 on as many crops: forward, task
loss, backward, SGD.

Every loss runs in a process of its own, so that its peak memory (resident, beyond what its inputs, parameters and
gradients take) is its own; the student's step is measured before and after all of them, and the ratio is to the mean of
the two. One line a loss is printed, and all is written to benchmarks/losses.json, from which docs/losses.md takes it;
with names, only those are measured again.

    python benchmarks/losses.py [--batch 4] [--rounds 3] [NAME ...]
"""

import argparse
import ctypes
import json
import multiprocessing
import subprocess
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from gskd_cost import CLASSES, HEIGHT, STRIDE, WIDTH, scene_labels, training_step
from torch import Tensor, nn

from segdistill.catalogue.cards import BY_NAME, LOSS_CARDS, LossCard
from segdistill.distillation.build import build_terms
from segdistill.distillation.facts import NetworkPair
from segdistill.recipes import load

STUDENT, TEACHER = 128, 256
RECORD = Path(__file__).with_suffix(".json")
M_MMAP_THRESHOLD = -3  # of glibc's mallopt


class Maps(nn.Module):
    """Stands for a network in the probe: features of a width, logits of the classes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.features = nn.ModuleDict({f"stage{i}": nn.Conv2d(3, channels, 1, stride=STRIDE) for i in range(1, 5)})
        self.classifier = nn.Conv2d(channels, CLASSES, 1)
        self.aux = nn.Conv2d(channels, CLASSES, 1)
        self.roles = {name: f"features.{name}" for name in self.features} | {"head": "classifier:input"}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = [layer(images) for layer in self.features.values()]
        return {"out": self.classifier(maps[-1]), "aux": self.aux(maps[-1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="losses (default: all)")
    parser.add_argument("--batch", type=int, default=4, help="images; 4 needs about 12 GB (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: %(default)s)")
    args = parser.parse_args()
    names = args.names or [card.name for card in LOSS_CARDS]
    alone = multiprocessing.get_context("spawn")

    def apart(function: Any, *arguments: Any) -> Any:
        with alone.Pool(1) as pool:
            return pool.apply(function, arguments)

    before = apart(step_seconds, args.batch, args.rounds)
    measured = {}
    for name in names:
        measured[name] = apart(cost, name, args.batch, args.rounds)
        print(f"{name:22}{measured[name]['seconds']:8.3f} s {measured[name]['megabytes']:8.0f} MB", flush=True)
    step = (before + apart(step_seconds, args.batch, args.rounds)) / 2
    print(f"the student's step: {step:.3f} s, batch {args.batch}, torch {torch.__version__}")
    losses = {
        name: {"percent": 100 * each["seconds"] / step, "megabytes": each["megabytes"]}
        for name, each in measured.items()
    }
    for name, each in losses.items():
        print(f"{name:22}{each['percent']:8.2f} %")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True)
    about = {
        "commit": commit.stdout.strip(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "batch": args.batch,
        "step_seconds": step,
    }
    if args.names and RECORD.exists():  # each ratio is of its own run: the others keep theirs, and their commit
        record = json.loads(RECORD.read_text(encoding="utf-8"))
        for name, each in losses.items():
            record["losses"][name] = {**each, "commit": about["commit"]}
    else:
        record = {**about, "losses": losses}
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def step_seconds(batch: int, rounds: int) -> float:
    torch.manual_seed(0)
    step = training_step(batch, "cpu")
    step()
    return median(seconds(step) for _ in range(rounds))


def cost(name: str, batch: int, rounds: int) -> dict[str, float]:
    """Return the seconds of a loss, forward and backward, and the megabytes at its peak."""
    torch.manual_seed(0)
    pair = NetworkPair(Maps(STUDENT), Maps(TEACHER), CLASSES, torch.zeros(1, 3, 64, 64))
    term = build_terms(load("quickstart", ["method=none", f"terms.{name}={{}}"]).term_settings, pair)[name]
    card = BY_NAME[name]
    ours, theirs = maps(card, batch, STUDENT, learns=True), maps(card, batch, TEACHER, learns=False)
    term = term.wire({key: x.shape for key, x in ours.items()}, {key: x.shape for key, x in theirs.items()})
    labels = scene_labels(batch, "cpu") if term.labels or card.labels == "required" else None
    term.train()

    def run(images: int, side: int) -> None:
        student = {key: x[:images, :, :side, :side] for key, x in ours.items()}
        teacher = {key: x[:images, :, :side, :side] for key, x in theirs.items()}
        here = None if labels is None else labels[:images, : side * STRIDE, : side * STRIDE]
        value, own = term(student, teacher, here)
        (value if own is None else value + own).backward()

    run(2, 16)  # whatever is made once is made
    times = [seconds(lambda: run(batch, max(HEIGHT, WIDTH))) for _ in range(rounds)]
    # From here on every tensor has pages of its own, which go back when it does: what was freed is no part of the peak.
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 2**16)
    libc.malloc_trim(0)
    resident = memory()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    run(batch, max(HEIGHT, WIDTH))
    return {"seconds": median(times), "megabytes": max(0.0, (memory("VmHWM") - resident) / 1024)}


def maps(card: LossCard, batch: int, channels: int, *, learns: bool) -> dict[str, Tensor]:
    """Return the features that the loss is applied to by default."""
    names = (card.on,) if isinstance(card.on, str) else card.on
    widths = {name: CLASSES if name in ("logits", "aux") else channels for name in names}
    size = (HEIGHT // STRIDE, WIDTH // STRIDE)
    return {name: torch.randn(batch, width, *size, requires_grad=learns) for name, width in widths.items()}


def seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def memory(key: str = "VmRSS") -> int:
    """Return this process's resident memory, or its peak, in kB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise RuntimeError("this benchmark reads /proc, which this system lacks")


if __name__ == "__main__":
    main()
