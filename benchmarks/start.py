"""Processor time of fresh processes: to the first training step, to an answer, and to the end of an import."""

import os
import subprocess
import sys
from statistics import median

from benchmarks.timing import Figure

# Ends the process after the first step, that of the teacher, which the recipe trains first.
FIRST_STEP = """
import os, sys
from segdistill.training.loop import Training
take_step = Training.take_step
def first(self, *args):
    take_step(self, *args)
    os._exit(77)
Training.take_step = first
from segdistill.cli import main
sys.argv = ["segdistill", "distill", "quickstart", "--run-dir", sys.argv[1]]
main()
"""

ANSWERS = {
    "segdistill --help": ["--help"],
    "a mistyped key": ["distill", "quickstart", "train.iteratoins=5"],
    "a wrong folder": ["distill", "folder", "data.root=/no/such/folder"],
}


def processor_seconds(arguments: list[str], code: int | None = None) -> float:
    """Return the processor time of a Python process, its children included.

    Raises:
        RuntimeError: If the process ends with another exit status than ``code``.
    """
    before = os.times()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    after = os.times()
    if code is not None and done.returncode != code:
        raise RuntimeError(f"{arguments[:2]} ended with status {done.returncode}:\n{done.stderr}")
    return after.children_user + after.children_system - before.children_user - before.children_system


def first_step_seconds(folder: str, rounds: int) -> Figure:
    """Return the seconds to the first step of ``distill quickstart``."""
    return Figure.of([processor_seconds(["-c", FIRST_STEP, f"{folder}/run{turn}"], code=77) for turn in range(rounds)])


def answer_seconds(rounds: int) -> dict[str, Figure]:
    """Return the seconds to each answer that needs no training."""
    return {
        name: Figure.of([processor_seconds(["-m", "segdistill", *arguments]) for _ in range(rounds)])
        for name, arguments in ANSWERS.items()
    }


def import_over_torch(rounds: int) -> Figure:
    """Return the time to import the Distiller and the losses, over that to import PyTorch alone."""
    lines = {"torch": "import torch", "ours": "from segdistill import Distiller, Term, losses"}
    times = {name: [processor_seconds(["-c", line], code=0) for _ in range(rounds)] for name, line in lines.items()}
    base = median(times["torch"])
    return Figure.of([each / base for each in times["ours"]])
