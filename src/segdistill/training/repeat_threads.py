"""Number of threads of a resumed run: the one that it was started with."""

import os
from pathlib import Path

import torch
from rich.console import Console

from segdistill.runs.json_files import read_environment


def repeat_threads(folder: Path, console: Console, label: str) -> None:
    """Set the number of threads that the run was started with. Sums in another order differ in their last bits.

    A run counts as started once its teacher has a checkpoint, so that teacher and student use the same number. A number
    in ``OMP_NUM_THREADS`` takes precedence.
    """
    started = read_environment(folder).get("torch_threads")
    has_started = (folder / "result.json").exists() or any(folder.rglob("*.pt"))
    if not has_started or "OMP_NUM_THREADS" in os.environ or not isinstance(started, int) or started < 1:
        return
    if started != torch.get_num_threads():
        torch.set_num_threads(started)
        why = "so that it is the same bit for bit; OMP_NUM_THREADS overrides"
        console.print(f"{label}: resuming with {started} threads, as it was started, {why}", soft_wrap=True)
