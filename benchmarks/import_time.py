"""Processor time of what answers before training: imports, --help, a mistyped key, a wrong folder.

Each in fresh processes, interleaved; the median counts.

    python benchmarks/import_time.py [--repeats 5]
"""

import argparse
import os
import statistics
import subprocess
import sys

CASES = {
    "import torch": ["-c", "import torch"],
    "import segdistill": ["-c", "import torch, segdistill"],
    "from segdistill import Distiller, Term, losses": ["-c", "from segdistill import Distiller, Term, losses"],
    "segdistill --help": ["-m", "segdistill", "--help"],
    "a mistyped key": ["-m", "segdistill", "distill", "quickstart", "train.iteratoins=5"],
    "a wrong folder": ["-m", "segdistill", "distill", "folder", "data.root=/no/such/folder"],
}


def processor_seconds(arguments: list[str]) -> float:
    before = os.times()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(repeats):
        for name, arguments in CASES.items():
            times[name].append(processor_seconds(arguments))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, seconds in medians.items():
        print(f"{name:48} {seconds:.3f} s  {seconds / medians['import torch']:.3f} of import torch")
    print("goals: imports at most 1.05 of import torch; each answer under 0.5 s")


if __name__ == "__main__":
    main()
