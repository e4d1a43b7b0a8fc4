"""The cost of each loss: its time relative to the student's step, its memory, and its waits for the device.

A loss runs as a term of a Distiller runs it, with its adapter and the objective of its inner parts, forward and
backward, between maps of the papers' student (128 channels) and teacher (256) at stride 8. The student's step is the
one of ``benchmarks.steps``.

    python -m benchmarks.terms [--batch 4] [--rounds 3] [NAME ...]

measures at the papers' size, 512x1024, and writes benchmarks/losses.json, from which docs/losses.md takes the costs.
With names, only those losses are measured again. ``benchmarks.bench`` measures all of them at a smaller size.
"""

import argparse
import gc
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.host_waits import HostWaits
from benchmarks.memory import peak_megabytes
from benchmarks.steps import Size, bound, scene_labels
from benchmarks.timing import seconds
from benchmarks.versions import commit
from segdistill.catalogue.cards import BY_NAME, LOSS_CARDS, LossCard
from segdistill.distillation.build import build_terms
from segdistill.distillation.facts import NetworkPair
from segdistill.recipes import load

STRIDE = 8
RECORD = Path(__file__).with_name("losses.json")


@dataclass(frozen=True)
class Cost:
    """The seconds of each round, the peak of memory, and the waits of one forward and backward pass."""

    seconds: Sequence[float]
    megabytes: float
    waits: Counter[str]


class Maps(nn.Module):
    """Stands for a network in the probe: features of a width, logits of the classes."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.ModuleDict({f"stage{i}": nn.Conv2d(3, channels, 1, stride=STRIDE) for i in range(1, 5)})
        self.classifier = nn.Conv2d(channels, classes, 1)
        self.aux = nn.Conv2d(channels, classes, 1)
        self.roles = {name: f"features.{name}" for name in self.features} | {"head": "classifier:input"}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = [layer(images) for layer in self.features.values()]
        return {"out": self.classifier(maps[-1]), "aux": self.aux(maps[-1])}


def cost(name: str, size: Size, device: str, rounds: int) -> Cost:
    """Measure one loss."""
    work = term_work(name, size, device)
    with HostWaits() as waits:  # in the first pass, after which gradients and buffers exist
        work()
    times = [seconds(work, device) for _ in range(rounds)]
    megabytes = peak_megabytes(work, device)
    return Cost(times, megabytes, waits.counts)


def term_work(name: str, size: Size, device: str) -> Callable[[], None]:
    """Return the forward and backward pass of a loss as a term."""
    torch.manual_seed(0)
    pair = NetworkPair(
        Maps(size.channels, size.classes),
        Maps(2 * size.channels, size.classes),
        size.classes,
        torch.zeros(1, 3, 64, 64),
    )
    term = build_terms(load("quickstart", ["method=none", f"terms.{name}={{}}"]).term_settings, pair)[name]
    card = BY_NAME[name]
    student = _maps(card, size, size.channels, device)
    teacher = _maps(card, size, 2 * size.channels, device)
    for x in student.values():
        x.requires_grad_()
    wired = term.wire({key: x.shape for key, x in student.items()}, {key: x.shape for key, x in teacher.items()})
    wired.to(device).train()
    labels = scene_labels(size, device) if wired.labels or card.labels == "required" else None

    def work() -> None:
        value, objective = wired(student, teacher, labels)
        (value if objective is None else value + objective).backward()

    return work


def _maps(card: LossCard, size: Size, channels: int, device: str) -> dict[str, Tensor]:
    """Return the features that the loss is applied to by default."""
    names = (card.on,) if isinstance(card.on, str) else card.on
    widths = {name: size.classes if name in ("logits", "aux") else channels for name in names}
    shape = (size.height // STRIDE, size.width // STRIDE)
    return {name: torch.randn(size.batch, width, *shape, device=device) for name, width in widths.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="losses (default: all)")
    parser.add_argument("--batch", type=int, default=4, help="images; 4 needs about 12 GB (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: %(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    size = Size(args.batch, 512, 1024)
    step = bound(size, args.device, teacher=None)
    step()
    before = [seconds(step, args.device) for _ in range(args.rounds)]
    measured = {}
    for name in args.names or [card.name for card in LOSS_CARDS]:
        measured[name] = cost(name, size, args.device, args.rounds)
        gc.collect()
        print(f"{name:22}{median(measured[name].seconds):8.3f} s {measured[name].megabytes:8.0f} MB", flush=True)
    step_seconds = median([*before, *(seconds(step, args.device) for _ in range(args.rounds))])
    print(f"the student's step: {step_seconds:.3f} s, batch {args.batch}, torch {torch.__version__}")
    losses = {
        name: {"percent": 100 * median(each.seconds) / step_seconds, "megabytes": each.megabytes}
        for name, each in measured.items()
    }
    for name, each in losses.items():
        print(f"{name:22}{each['percent']:8.2f} %")
    about = {
        "commit": commit(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "batch": args.batch,
        "step_seconds": step_seconds,
    }
    if args.names and RECORD.exists():  # each ratio is of its own run: the others keep theirs, and their commit
        record = json.loads(RECORD.read_text(encoding="utf-8"))
        for name, each in losses.items():
            record["losses"][name] = {**each, "commit": about["commit"]}
    else:
        record = {**about, "losses": losses}
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
