"""Show that a change leaves every loss curve as it is: record runs at one commit, compare them with another's.

    python -m benchmarks.curves record before.json quickstart "camvid data.root=CamVid"
    PYTHONPATH=OTHER_CHECKOUT/src python -m benchmarks.curves record after.json quickstart "camvid data.root=CamVid"
    python -m benchmarks.curves compare before.json after.json

A recipe is a name or a YAML file with changes. Each is run for a few steps with one thread, the teacher too where the
recipe trains it. Recorded are the losses of every step and a digest of the last weights, of every network of the run.

    python -m benchmarks.curves golden

renews tests/training/golden_curves.json, the curves that ``tests/training/test_golden_curves.py`` expects. Do it only
for a change that is meant to change them, and name the reason in the commit message.
"""

import argparse
import hashlib
import importlib.metadata
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import segdistill
from benchmarks import curve_sets
from segdistill.recipes import load
from segdistill.training.run import distill

STEPS = 30
GOLDEN = Path(__file__).parents[1] / "tests" / "training" / "golden_curves.json"
GOLDEN_TEACHER_STEPS = 3
PACKAGES = ("torch", "torchvision", "segmentation-models-pytorch", "timm", "numpy", "pillow")


def record(file: Path, recipes: list[str]) -> None:
    """Run the recipes and write their curves."""
    runs = {}
    for text in recipes:
        for name, curve in curves(text).items():
            runs[f"{text}: {name}"] = curve
            print(f"{text}: {name}", curve["weights"][:16])
    file.write_text(json.dumps({"source": str(Path(segdistill.__file__).parent), "runs": runs}, indent=1))


def curves(text: str, *, teacher_steps: int = STEPS, changes: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run a recipe for a few steps and return the curve of each of its networks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    source, *given = text.split()
    given = [*given, *changes]
    recipe = load(
        source, [*given, *_short(STEPS), *_short_teachers(source, given, teacher_steps), "teacher.min_miou=0"]
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            distill(recipe, Path(folder) / "run", console=Console(quiet=True))
            checkpoints = sorted(Path(folder).rglob("last.pt"))
            return {str(last.parent.parent.relative_to(folder)): _curve(last) for last in checkpoints}
    finally:
        torch.set_num_threads(threads)


def golden_curve(name: str, root: Path) -> dict[str, Any]:
    """Run a recipe of ``curve_sets`` without the student alone and return its losses and digests, by network."""
    text = curve_sets.recipes(root)[name]
    runs = curves(text, teacher_steps=GOLDEN_TEACHER_STEPS, changes=("baseline=false",))
    return {
        run: {"loss": [line["loss"] for line in curve["losses"]], "weights": curve["weights"]}
        for run, curve in runs.items()
    }


def machine() -> dict[str, str]:
    """Return what must be equal for curves to be equal to the bit."""
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {**versions, "processor": _processor(), "instructions": torch.backends.cpu.get_cpu_capability()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def write_golden() -> None:
    """Record the curves of every recipe of ``curve_sets`` as golden."""
    with tempfile.TemporaryDirectory() as folder:
        curve_sets.draw(Path(folder))
        runs = {name: golden_curve(name, Path(folder)) for name in curve_sets.RECIPES}
    GOLDEN.write_text(json.dumps({"machine": machine(), "runs": runs}, indent=1) + "\n")


def _short(steps: int) -> list[str]:
    return [f"train.iterations={steps}", "train.log_every=1", f"train.validate_every={steps}", "train.warmup=0"]


def _short_teachers(source: str, changes: list[str], steps: int) -> list[str]:
    teacher = load(source, changes).teacher
    members = [f"teacher.members.{name}" for name in teacher.members] if teacher is not None else []
    return [
        change
        for each in members or ["teacher"]
        for change in (f"{each}.weights=null", *(f"{each}.{short}" for short in _short(steps)))
    ]


def _curve(last: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in (last.parent.parent / "metrics.jsonl").read_text().splitlines()]
    losses = [{k: v for k, v in line.items() if k != "split"} for line in lines if line["split"] == "train"]
    digest = hashlib.sha256()
    for name, tensor in torch.load(last, weights_only=True)["distiller"].items():
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return {"losses": losses, "weights": digest.hexdigest()}


def compare(before: Path, after: Path) -> int:
    """Print the first difference of each run; return 1 if there is one."""
    old, new = (json.loads(file.read_text())["runs"] for file in (before, after))
    differs = False
    for name in dict.fromkeys([*old, *new]):
        difference = _difference(old.get(name), new.get(name))
        differs |= difference is not None
        print(f"{name}: {difference or 'the same to the bit'}")
    return int(differs)


def _difference(old: dict[str, Any] | None, new: dict[str, Any] | None) -> str | None:
    if old is None or new is None:
        return "only in one of the two"
    for before, after in zip(old["losses"], new["losses"], strict=False):
        for key in dict.fromkeys([*before, *after]):
            if before.get(key) != after.get(key):
                return f"step {before['step']}, {key}: {before.get(key)} before, {after.get(key)} after"
    if len(old["losses"]) != len(new["losses"]):
        return f"{len(old['losses'])} steps before, {len(new['losses'])} after"
    return None if old["weights"] == new["weights"] else "the last weights differ"


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("file", type=Path)
    recording.add_argument("recipes", nargs="+")
    comparing = commands.add_parser("compare")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    commands.add_parser("golden")
    given = parser.parse_args()
    if given.command == "golden":
        write_golden()
        return 0
    if given.command == "compare":
        return compare(given.before, given.after)
    record(given.file, given.recipes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
