"""The parts of reading one item, as ratios to reading it from PNG with Pillow.

Ways: from PNG with kornia-rs (if it is installed), from a file of decoded images (data.cache=memmap; the first read of
an item compares its checksum), from memory, and the transform alone. Noise is added to the generated scenes, because
smooth scenes have smaller PNGs than photographs.

    python -m benchmarks.items [--rounds 3]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.reading import ITEMS, SETS, write_scenes
from segdistill.data import open_dataset, training_transform
from segdistill.data.decoding import fast_png


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: %(default)s)")
    rounds = parser.parse_args().rounds
    print(f"milliseconds of processor time an item, {rounds * ITEMS} reads, and the ratio to Pillow's PNG")
    for name, (size, crop) in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            write_scenes(Path(folder), size)
            measure_items(name, Path(folder), crop, rounds)


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


if __name__ == "__main__":
    main()
