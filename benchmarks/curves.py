"""Show that a change leaves every loss curve as it is: record runs at one commit, compare them with another's.

    python benchmarks/curves.py record before.json quickstart "camvid data.root=CamVid"
    PYTHONPATH=OTHER_CHECKOUT/src python benchmarks/curves.py record after.json quickstart "camvid data.root=CamVid"
    python benchmarks/curves.py compare before.json after.json

A recipe is a name or a YAML file with changes. Each is run for a few steps with one thread, the teacher too where the
recipe trains it. Recorded are the losses of every step and a digest of the last weights, of every network of the run.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import segdistill
from segdistill.recipes import load
from segdistill.training.run import distill

STEPS = 30
SHORT = [f"train.iterations={STEPS}", "train.log_every=1", f"train.validate_every={STEPS}", "train.warmup=0"]


def record(file: Path, recipes: list[str]) -> None:
    """Run the recipes and write what they did."""
    torch.set_num_threads(1)
    found = {}
    for text in recipes:
        source, *changes = text.split()
        recipe = load(source, [*changes, *SHORT, *_short_teachers(source, changes), "teacher.min_miou=0"])
        with tempfile.TemporaryDirectory() as folder:
            distill(recipe, Path(folder) / "run", console=Console(quiet=True))
            for last in sorted(Path(folder).rglob("last.pt")):
                name = f"{text}: {last.parent.parent.relative_to(folder)}"
                found[name] = _curve(last)
                print(name, found[name]["weights"][:16])
    file.write_text(json.dumps({"source": str(Path(segdistill.__file__).parent), "runs": found}, indent=1))


def _short_teachers(source: str, changes: list[str]) -> list[str]:
    teacher = load(source, changes).teacher
    members = [f"teacher.members.{name}" for name in teacher.members] if teacher is not None else []
    return [change for each in members or ["teacher"] for change in (f"{each}.weights=null", *_trained(each))]


def _trained(teacher: str) -> list[str]:
    return [f"{teacher}.{change}" for change in SHORT]


def _curve(last: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in (last.parent.parent / "metrics.jsonl").read_text().splitlines()]
    losses = [{k: v for k, v in line.items() if k != "split"} for line in lines if line["split"] == "train"]
    digest = hashlib.sha256()
    for name, tensor in torch.load(last, weights_only=True)["distiller"].items():
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return {"losses": losses, "weights": digest.hexdigest()}


def compare(before: Path, after: Path) -> int:
    """Print the first difference of each run; return 1 where there is one."""
    old, new = (json.loads(file.read_text())["runs"] for file in (before, after))
    differs = False
    for name in dict.fromkeys([*old, *new]):
        said = _difference(old.get(name), new.get(name))
        differs |= said is not None
        print(f"{name}: {said or 'the same to the bit'}")
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
    given = parser.parse_args()
    if given.command == "compare":
        return compare(given.before, given.after)
    record(given.file, given.recipes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
