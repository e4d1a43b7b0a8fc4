"""Resume a run with the number of threads it was started with."""

import os
from pathlib import Path

import torch
from rich.console import Console

from segdistill.runs.json_files import read_environment


def repeat_threads(folder: Path, console: Console, label: str) -> None:
    """Use as many threads as the run was started with: sums in another order differ in their last bits.

    A run has started when its teacher has, so that teacher and student train with the same number.
    """
    started = read_environment(folder).get("torch_threads")
    has_started = (folder / "result.json").exists() or any(folder.rglob("*.pt"))
    if not has_started or "OMP_NUM_THREADS" in os.environ or not isinstance(started, int) or started < 1:
        return
    if started != torch.get_num_threads():
        torch.set_num_threads(started)
        why = "to repeat it to the bit; OMP_NUM_THREADS overrides"
        console.print(f"{label}: resumes with {started} threads, as it was started, {why}", soft_wrap=True)
