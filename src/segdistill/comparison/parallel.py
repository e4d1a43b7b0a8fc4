"""Runs of a comparison in several processes at the same time, on one GPU or on many cores."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from segdistill.comparison.plan import PlannedRun
from segdistill.errors import Stopped
from segdistill.recipes import Recipe
from segdistill.recipes.schema import Teacher
from segdistill.training.session import Session
from segdistill.training.train import train_network

LOGS = "logs"
INTERVAL = 30.0
"""Seconds between two lines of progress of a run."""

_session: Session | None = None  # of this process; its runs share data and teacher


def train_in_parallel(
    runs: Sequence[PlannedRun],
    session: Session,
    folder: Path,
    *,
    jobs: int,
    forms: Mapping[str, Mapping[str, Any] | None],
    console: Console,
) -> Iterator[tuple[PlannedRun, Exception | None]]:
    """Train the runs in ``jobs`` processes, and yield each with its error, or None, when it ends.

    The processes stay for all runs, so each imports PyTorch and reads the teacher once. Their lines go to files in
    ``logs/``, and the last line of each is printed every half minute. The threads of this process are divided among
    them.

    Args:
        runs: The unfinished runs.
        session: The session of the comparison, whose teacher has weights.
        folder: The folder of the comparison.
        jobs: Number of processes.
        forms: The forms in which the networks of a method train, where they are measured already.
        console: The console to print the progress on.

    Raises:
        Stopped: A run was stopped by Ctrl-C or SIGTERM, after its checkpoint was written.
    """
    threads = max(1, torch.get_num_threads() // jobs)
    start = (session.recipe, session.shared_teacher, session.runs, threads)
    console.print(f"{jobs} runs at the same time; each writes its lines to {folder / LOGS}", soft_wrap=True)
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_open, initargs=start)
    with pool:
        waiting: dict[Future[None], PlannedRun] = {
            pool.submit(_train, run, folder, forms.get(run.method)): run for run in runs
        }
        try:
            for future in _ended(waiting, folder, console):
                error = future.exception()
                if isinstance(error, Stopped) or not isinstance(error, Exception | None):
                    raise error
                yield waiting[future], error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _ended(waiting: Mapping[Future[None], PlannedRun], folder: Path, console: Console) -> Iterator[Future[None]]:
    """Yield each run when it ends, and print the progress of the others in the meantime."""
    began, left = time.time(), set(waiting)
    while left:
        ended, left = wait(left, timeout=INTERVAL, return_when=FIRST_COMPLETED)
        yield from ended
        logs = (_log(folder, waiting[future]) for future in left) if not ended else ()
        for log in sorted(log for log in logs if log.exists() and log.stat().st_mtime >= began):
            *_, last = ["", *log.read_text(encoding="utf-8").split("\n")[:-1]]
            console.print(last, soft_wrap=True, markup=False)


def _log(folder: Path, run: PlannedRun) -> Path:
    return folder / LOGS / f"{run.folder}.txt"


def _open(recipe: Recipe, teacher: Teacher | None, runs: Path, threads: int) -> None:
    """Open the session of this process."""
    global _session
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    torch.set_num_threads(threads)
    _session = Session(recipe, runs=runs)
    if teacher is not None:
        _session.use_teacher(teacher)


def _train(run: PlannedRun, folder: Path, forms: Mapping[str, Any] | None) -> None:
    """Train one run in this process, with its lines in a file."""
    assert _session is not None
    log = _log(folder, run)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as lines:
        console = Console(file=lines, width=120)
        session = _session.variant(run.recipe)
        train_network(session, folder / run.folder, console=console, label=run.label, forms=forms)
