"""Records in a run's folder: recipe.yaml, environment.json, metrics.jsonl, result.json."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from segdistill.errors import UserError
from segdistill.system.atomic import unwritable, write_text
from segdistill.version import __version__

PACKAGES = ("torch", "torchvision", "lightning-fabric", "timm", "segmentation-models-pytorch", "numpy")


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def environment(seed: int) -> dict[str, Any]:
    """Return the environment of a run, for those who judge or repeat it: versions, commit, hardware, command, seed."""
    return {
        "segdistill": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu_cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "seed": seed,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # importable without being installed
        return None


def _commit() -> str | None:
    """Return the commit of the source if git tracks it; otherwise None."""
    file = Path(__file__)
    # An installed package may be inside the checkout of another project.
    if not _git(file.parent, "ls-files", "--error-unmatch", file.name):
        return None
    return _git(file.parent, "describe", "--always", "--dirty", "--abbrev=12")


def _git(folder: Path, *command: str) -> str | None:
    """Return the output of a command of git in a folder; None if it fails or prints nothing."""
    try:
        process = subprocess.run(
            ["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip() or None


class Metrics:
    """A writer of metrics.jsonl and, on request, of TensorBoard's events.

    A resumed run removes the lines after its checkpoint, so that no step is logged twice.

    Args:
        folder: The run's folder.
        step: The step of the checkpoint.
        until: The last step to keep, for each split that counts its steps separately.
        tensorboard: Whether to write TensorBoard's events.
    """

    def __init__(self, folder: Path, *, step: int, tensorboard: bool, until: Mapping[str, float] | None = None) -> None:
        self.path = folder / "metrics.jsonl"
        earlier = []
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            earlier = [line for line in lines if _is_kept(line, step, until or {})]
        write_text(self.path, "".join(earlier))
        self._tensorboard = _tensorboard(folder, step) if tensorboard else None

    def log(self, step: int, split: str, **values: float | None) -> None:
        """Append one line; TensorBoard does not get values that are None."""
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
        """Write the events that TensorBoard still buffers."""
        if self._tensorboard is not None:
            self._tensorboard.close()


def _is_kept(line: str, step: int, until: Mapping[str, float]) -> bool:
    try:
        entry = json.loads(line)
        return float(entry["step"]) <= until.get(entry["split"], step)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # part of a line, from a killed run
        return False


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError('train.tensorboard needs the package tensorboard: pip install "segdistill[all]"') from None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
