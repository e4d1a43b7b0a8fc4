"""The machine and the software that figures were measured with."""

import os
import platform
import subprocess
from pathlib import Path

import torch


def commit() -> str:
    """Return the commit of this checkout, "unknown" without git; "-dirty" if a file differs, records not counted."""
    try:
        name = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)benchmarks/records")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name}-dirty" if changed else name


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def hardware(device: str) -> str:
    """Return the name of the accelerator, or the processor and the cores that this process may use."""
    if device != "cpu":
        return torch.cuda.get_device_name() if torch.cuda.is_available() else device
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{processor()}, {cores} cores"


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def about(device: str) -> dict[str, str | int]:
    """Return what a record of figures states: commit, hardware, versions, threads."""
    return {
        "commit": commit(),
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
