"""A training step the way the authors' code takes it, against ours: time and memory, on the same tensors.

DeepLabV3 on ResNet-18 learns from DeepLabV3 on ResNet-101 by ``gskd`` (with kd), ``ifvd`` and ``cirkd``. The two take
turns in one process, 20 steps each, from the same weights. ``benchmarks.released`` has the losses of the authors' code.

    python -m benchmarks.against_released [METHOD ...] [--steps 20] [--device cuda]

The figures are stored in benchmarks/records, as those of ``benchmarks.bench``.
"""

import argparse
import gc
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks import records, released, versions
from benchmarks.memory import peak_megabytes
from benchmarks.steps import (
    Size,
    build_student,
    build_teacher,
    distiller_step,
    plain_task,
    random_images,
    scene_labels,
    sgd,
)
from benchmarks.timing import Figure, in_turns, ratio

METHODS = ("gskd", "ifvd", "cirkd")


def released_step(size: Size, device: str, method: str, *, teacher: nn.Module) -> Callable[[], None]:
    """Return a step of the released loop: kd, the method with its published weight, and one optimizer."""
    student = build_student(size, device)
    heads = _keep_head(student), _keep_head(teacher)
    widths = size.channels, 2 * size.channels
    makers: dict[str, Callable[[], nn.Module]] = {
        "gskd": lambda: released.GSKD(*widths),
        "ifvd": nn.Identity,
        "cirkd": lambda: released.CIRKD(*widths, size.classes),
    }
    loss = makers[method]().to(device)
    optimizer = sgd(iter([*student.parameters(), *loss.parameters()]))
    images, labels = random_images(size, device), scene_labels(size, device)

    def step() -> None:
        with torch.no_grad():
            theirs = teacher(images)
        ours = student(images)
        total = plain_task(ours, labels) + released.kd(ours.logits, theirs.logits)
        s, t = (head.pop() for head in heads)
        if method == "gskd":
            total = total + 10 * loss(s, t, theirs.logits, labels)
        elif method == "ifvd":
            total = total + 20 * released.ifvd(s, t, labels, size.classes)
        else:
            total = total + loss(s, t, labels)
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


def measure(size: Size, device: str, method: str, steps: int) -> tuple[Figure, Figure, dict[str, float]]:
    """Return time and memory of our step over the released one, and the seconds and MB of both."""
    sides = {  # two teachers with the same weights: the released loop keeps a feature of its teacher
        "released": released_step(size, device, method, teacher=build_teacher(size, device)),
        "ours": distiller_step(size, device, method, teacher=build_teacher(size, device)),
    }
    times = in_turns(sides, steps, device)
    megabytes = {name: peak_megabytes(step, device) for name, step in sides.items()}
    peak = megabytes["ours"] / megabytes["released"]
    absolute = {f"{name}, s": median(times[name]) for name in sides} | {f"{n}, MB": megabytes[n] for n in sides}
    return ratio(times["ours"], times["released"]), Figure.of([peak]), absolute


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=METHODS, help=f"of {', '.join(METHODS)} (default: all)")
    parser.add_argument("--steps", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    size = Size(2, 256, 256) if args.device == "cpu" else Size(4, 512, 1024)
    print(size)
    sections: records.Sections = {"step: ours / released": {}, "memory: ours / released": {}}
    for method in args.methods:
        time, memory, absolute = measure(size, args.device, method, args.steps)
        sections["step: ours / released"][method] = time
        sections["memory: ours / released"][method] = memory
        print(f"{method:8} time {time.median:.3f} ({time.least:.3f} to {time.most:.3f}), memory {memory.median:.3f};",
              ", ".join(f"{name} {value:.3g}" for name, value in absolute.items()), flush=True)  # fmt: skip
        gc.collect()
    about = {**versions.about(args.device), "device": args.device, "rounds": args.steps, "sizes": {"step": str(size)}}
    records.write(records.record_file(about, "released"), about, sections)


if __name__ == "__main__":
    main()
