"""Runs of a comparison in several processes at the same time, on one GPU or on many cores."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
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

_session: Session | None = None  # of this process; its runs share data and teacher


def train_in_parallel(
    runs: Sequence[PlannedRun],
    session: Session,
    folder: Path,
    *,
    jobs: int,
    forms: Mapping[str, Mapping[str, Any] | None],
) -> Iterator[tuple[PlannedRun, Exception | None]]:
    """Train the runs in ``jobs`` processes, and yield each with its error, or None, when it ends.

    The processes stay for all runs, so each imports PyTorch and reads the teacher once. Their lines go to files in
    ``logs/``. The threads of this process are divided among them.

    Args:
        runs: The unfinished runs.
        session: The session of the comparison, whose teacher has weights.
        folder: The folder of the comparison.
        jobs: Number of processes.
        forms: The forms in which the networks of a method train, where they are measured already.

    Raises:
        Stopped: A run was stopped by Ctrl-C or SIGTERM, after its checkpoint was written.
    """
    threads = max(1, torch.get_num_threads() // jobs)
    start = (session.recipe, session.shared_teacher, session.runs, threads)
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_open, initargs=start)
    with pool:
        waiting: dict[Future[None], PlannedRun] = {
            pool.submit(_train, run, folder, forms.get(run.method)): run for run in runs
        }
        try:
            for future in as_completed(waiting):
                error = future.exception()
                if isinstance(error, Stopped) or not isinstance(error, Exception | None):
                    raise error
                yield waiting[future], error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


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
    log = folder / LOGS / f"{run.folder}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as lines:
        console = Console(file=lines, width=120)
        session = _session.variant(run.recipe)
        train_network(session, folder / run.folder, console=console, label=run.label, forms=forms)
