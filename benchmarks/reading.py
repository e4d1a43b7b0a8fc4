"""Whether reading starves training: the time to read and augment a batch beside that of a training step.

Generated street scenes are written as PNGs of CamVid's and of Cityscapes' size, then read, augmented and trained on as
a run does it, with 0, 1 and 2 loader workers: reading alone, the step of a small student alone (that of the recipe for
two cores; a larger one waits less), and both in one loop. What counts is the loop's share of time spent waiting for the
next batch; all times are taken in one process, in turns.

Before that, the parts of reading one item, as ratios to reading it from PNG with Pillow: from PNG with kornia-rs (if it
is installed), from a file of decoded images (data.cache=memmap; the first read of an item compares its checksum), from
memory, and the transform alone. Generated scenes are smooth, so noise is added: a photograph has about as large a PNG.

    python benchmarks/reading.py [--rounds 3] [--steps 3] [--device cpu] [--cache false] [--items-only]
"""

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segdistill import losses, models
from segdistill.data import Scenes, TrainingStream, open_dataset, training_loader, training_transform
from segdistill.data.caches import KINDS
from segdistill.data.decoded.cache import prepare
from segdistill.data.decoding import fast_png

Batches = Iterator[tuple[Tensor, Tensor]]

# Height and width of the images, and of the crop.
SETS = {"CamVid": ((360, 480), (360, 360)), "Cityscapes": ((1024, 2048), (512, 1024))}
BATCH = 2
ITEMS = 6
WORKERS = (0, 1, 2)
STARVED = 0.05
"""A loop that waits for a larger share of its time is held up by reading."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="steps in a measurement (default: %(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--cache", choices=("false", *KINDS), default="false", help="how the loops keep images")
    parser.add_argument("--items-only", action="store_true", help="measure single items only")
    args = parser.parse_args()
    machine = f"{len(os.sched_getaffinity(0))} cores, {torch.get_num_threads()} threads, {args.device}"
    print(f"{machine}, torch {torch.__version__}")
    print(f"\nmilliseconds of processor time an item, {args.rounds * ITEMS} reads, and the ratio to Pillow's PNG")
    for name, (size, crop) in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            write_scenes(Path(folder), size)
            measure_items(name, Path(folder), crop, args.rounds)
    if args.items_only:
        return
    print(f"\nmilliseconds a step, data.cache={args.cache}")
    print(f"{'':26}{'workers':>8}{'reading':>10}{'training':>10}{'ratio':>8}{'waiting':>10}")
    for name, (size, crop) in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            write_scenes(Path(folder), size)
            measure_set(name, Path(folder), crop, args)
    print(f"reading starves training where the loop waits for more than {STARVED:.0%} of its time")


def write_scenes(root: Path, size: tuple[int, int], count: int = ITEMS) -> None:
    """Write noisy scenes as a data set of the layout ``folder``."""
    numbers = np.random.default_rng(0)
    for split in ("train", "val"):
        scenes = Scenes(split, length=count if split == "train" else 1, size=size)
        for index in range(len(scenes)):
            for kind, pixels in zip(("images", "labels"), scenes.read(index), strict=True):
                if kind == "images":
                    pixels = (pixels + numbers.normal(0, 2, pixels.shape)).clip(0, 255).astype(np.uint8)
                path = root / kind / split / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    (root / "classes.json").write_text(json.dumps({"classes": scenes.classes.names}))


def measure_items(name: str, root: Path, crop: tuple[int, int], rounds: int) -> None:
    """Print a line for each way to read an item."""
    transform = training_transform(crop)
    plain, mapped = open_dataset("folder", root), open_dataset("folder", root, cache="memmap")
    kept = open_dataset("folder", root, cache="memory")
    items = [*kept]
    decoder = fast_png._decoder()

    def through(decode: Callable[..., Any] | None, index: int) -> None:
        fast_png._decoder = lambda: decode
        transform(*plain[index])

    def first(index: int) -> None:
        mapped.decoded._verified.clear()
        transform(*mapped[index])

    ways: dict[str, Callable[[int], object]] = {"PNG, Pillow": lambda index: through(None, index)}
    if decoder is not None:
        ways["PNG, kornia-rs"] = lambda index: through(decoder, index)
    ways |= {
        "memmap, first read": first,
        "memmap": lambda index: transform(*mapped[index]),
        "memory": lambda index: transform(*kept[index]),
        "transform alone": lambda index: transform(*items[index]),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for index in range(ITEMS):
            for way, read in ways.items():
                torch.manual_seed(index)  # the same crop for all
                began = time.process_time()
                read(index)
                seconds[way].append(time.process_time() - began)
    pillow = median(seconds["PNG, Pillow"])
    size = sum(file.stat().st_size for file in (root / "images/train").iterdir()) / ITEMS
    print(f"{name}, crop {crop[0]}x{crop[1]}, PNG of {size / 1e6:.2f} MB")
    for way, taken in seconds.items():
        print(f"  {way:24}{1e3 * median(taken):10.1f}{median(taken) / pillow:8.3f}", flush=True)


def measure_set(name: str, root: Path, crop: tuple[int, int], args: argparse.Namespace) -> None:
    """Print a line for each number of workers."""
    kept: Any = False if args.cache == "false" else args.cache
    dataset = open_dataset("folder", root, cache=kept)
    prepare(dataset, name, lambda line: None, torch.device(args.device))
    stream = TrainingStream(dataset, training_transform(crop), seed=0)
    step = training_step(args.device)
    same = itertools.cycle(list(training_loader(stream, BATCH, steps=1)))
    run(same, step, 1)  # warm up
    training: list[float] = []
    reading: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    waiting: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    for _ in range(args.rounds):
        training.append(run(same, step, args.steps)[1] / args.steps)
        for workers in WORKERS:
            seconds, _ = run_stream(stream, workers, lambda images, labels: None, 4 * args.steps)
            reading[workers].append(seconds / (4 * args.steps))
            waited, worked = run_stream(stream, workers, step, args.steps)
            waiting[workers].append(waited / (waited + worked))
    trained = median(training)
    for workers in WORKERS:
        read, share = median(reading[workers]), median(waiting[workers])
        label = f"{name}, {BATCH} x {crop[0]}x{crop[1]}" if workers == WORKERS[0] else ""
        row = f"{1e3 * read:10.0f}{1e3 * trained:10.0f}{read / trained:8.2f}{100 * share:8.1f} %"
        print(f"{label:26}{workers:>8}{row}{'  starves' if share > STARVED else ''}", flush=True)


def run_stream(
    stream: TrainingStream, workers: int, work: Callable[[Tensor, Tensor], None], steps: int
) -> tuple[float, float]:
    """Run over a stream, without the first batch, which waits for the workers to start."""
    batches = iter(training_loader(stream, BATCH, steps=steps + 1, workers=workers))
    run(batches, work, 1)
    return run(batches, work, steps)


def training_step(device: str) -> Callable[[Tensor, Tensor], None]:
    """Return one step of the student alone."""
    student = models.build("deeplabv3/tu-mobilenetv2_035", 10, encoder_output_stride=8, decoder_channels=64)
    student.to(device).train()
    optimiser = torch.optim.SGD(student.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)

    def step(images: Tensor, labels: Tensor) -> None:
        optimiser.zero_grad()
        losses.cross_entropy(student(images.to(device)).logits, labels=labels.to(device)).backward()
        optimiser.step()
        if device != "cpu":
            torch.accelerator.synchronize()

    return step


def run(batches: Batches, work: Callable[[Tensor, Tensor], None], steps: int) -> tuple[float, float]:
    """Return the seconds spent waiting for batches and working on them."""
    waited = worked = 0.0
    for _ in range(steps):
        began = time.perf_counter()
        batch = next(batches)
        came = time.perf_counter()
        work(*batch)
        waited += came - began
        worked += time.perf_counter() - came
    return waited, worked


if __name__ == "__main__":
    main()
