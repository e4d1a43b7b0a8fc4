"""The records in a run's folder: recipe.yaml, environment.json, metrics.jsonl, result.json."""

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from segdistill.atomic import unwritable, write_text
from segdistill.errors import UserError

PACKAGES = ("torch", "torchvision", "lightning-fabric", "timm", "segmentation-models-pytorch", "numpy")


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def environment(seed: int) -> dict[str, Any]:
    """Return what a reader needs to judge or repeat a run."""
    return {
        "segdistill": metadata.version("segdistill"),
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu_cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "seed": seed,
    }


def _commit() -> str | None:
    """Return the commit of the installed source, where it lies in a git checkout."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


class Metrics:
    """metrics.jsonl, and TensorBoard's events beside it if asked for.

    A resumed run drops what was logged after its checkpoint, so that no step stands there twice.
    """

    def __init__(self, folder: Path, *, step: int, tensorboard: bool) -> None:
        self.path = folder / "metrics.jsonl"
        kept = []
        if self.path.exists():
            kept = [line for line in self.path.read_text().splitlines(keepends=True) if _is_before(line, step)]
        write_text(self.path, "".join(kept))
        self._tensorboard = _tensorboard(folder, step) if tensorboard else None

    def log(self, step: int, split: str, **values: float | None) -> None:
        """Append one line."""
        try:
            with self.path.open("a") as file:
                file.write(json.dumps({"step": step, "split": split, **values}) + "\n")
        except OSError as error:
            raise unwritable(self.path, error) from error
        if self._tensorboard is not None:
            for name, value in values.items():
                if value is not None:
                    self._tensorboard.add_scalar(f"{split}/{name}", value, step)

    def close(self) -> None:
        """Write out what TensorBoard still holds."""
        if self._tensorboard is not None:
            self._tensorboard.close()


def _is_before(line: str, step: int) -> bool:
    try:
        return int(json.loads(line)["step"]) <= step
    except (ValueError, KeyError):  # the half line of a run that was killed
        return False


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            'train.tensorboard needs the package tensorboard: pip install "segdistill[tensorboard]"'
        ) from None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
