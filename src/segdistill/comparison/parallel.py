"""Runs of a comparison in several processes at the same time, on one GPU or on many cores.

The first process hears the signals and asks the others to stop. They also stop when the first process is gone.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.synchronize import Event
from pathlib import Path

import torch
from rich.console import Console

from segdistill.comparison.plan import PlannedRun
from segdistill.comparison.scoreboard import LOGS
from segdistill.errors import Stopped, UserError
from segdistill.recipes import Recipe
from segdistill.recipes.schema import Teacher
from segdistill.system.interrupt import deferred_interrupt, has_to_stop, stop_on
from segdistill.training.session import Session
from segdistill.training.train import train_network
from segdistill.training.tuning import Choice

INTERVAL = 30.0
"""Seconds between two lines of progress of a run."""
POLL = 0.5
"""Seconds between two looks for a signal."""

# Of a process that trains: its runs share data and teacher.
_session: Session | None = None
_at_work = threading.Lock()


def train_in_parallel(
    runs: Sequence[PlannedRun],
    session: Session,
    folder: Path,
    *,
    jobs: int,
    choices: Sequence[Choice],
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
        choices: The forms in which the networks train.
        console: The console to print the progress on.

    Raises:
        Stopped: A run was stopped by Ctrl-C or SIGTERM, after its checkpoint was written.
        UserError: A process was killed. The others have stopped their runs.
    """
    threads = max(1, torch.get_num_threads() // jobs)
    context = get_context("spawn")
    stop, broken = context.Event(), context.Event()
    start = (session.recipe, session.shared_teacher, session.runs, threads, stop, broken)
    console.print(f"{jobs} runs at the same time; each writes its lines to {folder / LOGS}", soft_wrap=True)
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_open, initargs=start)
    with pool, deferred_interrupt() as interrupted:
        waiting: dict[Future[None], PlannedRun] = {pool.submit(_train, run, folder, choices): run for run in runs}
        try:
            for future in _ended(waiting, folder, console, interrupted):
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    stop.set()
                    broken.set()
                    raise UserError(
                        f"one of {jobs} processes has ended, often for lack of memory; give fewer --jobs: the same "
                        "command resumes all runs (a script that calls compare needs: if __name__ == '__main__')"
                    )
                if isinstance(error, Stopped) or not isinstance(error, Exception | None):
                    raise error
                yield waiting[future], error
            if interrupted():
                raise Stopped
        finally:
            if interrupted():
                stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _ended(
    waiting: Mapping[Future[None], PlannedRun], folder: Path, console: Console, interrupted: Callable[[], bool]
) -> Iterator[Future[None]]:
    """Yield each run when it ends, until a signal arrives, and print the progress of the others in the meantime."""
    began, left, told = time.time(), set(waiting), time.monotonic()
    while left and not interrupted():
        ended, left = wait(left, timeout=min(POLL, INTERVAL), return_when=FIRST_COMPLETED)
        yield from ended
        if time.monotonic() - told < INTERVAL:
            continue
        told = time.monotonic()
        for log in sorted(log for log in (_log(folder, waiting[future]) for future in left) if _is_new(log, began)):
            *_, last = ["", *log.read_text(encoding="utf-8").split("\n")[:-1]]
            console.print(last, soft_wrap=True, markup=False)


def _is_new(log: Path, began: float) -> bool:
    return log.exists() and log.stat().st_mtime >= began


def _log(folder: Path, run: PlannedRun) -> Path:
    return folder / LOGS / f"{run.folder}.txt"


def _open(recipe: Recipe, teacher: Teacher | None, runs: Path, threads: int, stop: Event, broken: Event) -> None:
    """Open the session of this process, which leaves the signals between two runs to the first process."""
    global _session
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    stop_on(stop)
    threading.Thread(target=_end_with_the_first, args=(stop,), daemon=True).start()
    threading.Thread(target=_end_with_the_others, args=(broken,), daemon=True).start()
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    torch.set_num_threads(threads)
    _session = Session(recipe, runs=runs)
    if teacher is not None:
        _session.use_teacher(teacher)


def _end_with_the_first(stop: Event) -> None:
    """When the first process is gone, stop the run of this process after its step, begin no other, and end."""
    first = parent_process()
    assert first is not None
    first.join()
    stop.set()
    with _at_work:
        os._exit(1)  # the main thread waits for a run, which nobody submits


def _end_with_the_others(broken: Event) -> None:
    """When another process was killed, end after the run: from Python 3.12 on, the pool ends a process by SIGTERM."""
    while not broken.is_set():  # wait() would let set() hang if a waiting process is killed
        time.sleep(POLL)
    with _at_work:
        os._exit(1)


def _train(run: PlannedRun, folder: Path, choices: Sequence[Choice]) -> None:
    """Train one run in this process, with its lines in a file."""
    assert _session is not None
    if has_to_stop():
        raise Stopped
    log = _log(folder, run)
    log.parent.mkdir(parents=True, exist_ok=True)
    with _at_work, log.open("a", encoding="utf-8") as lines:
        console = Console(file=lines, width=120)
        session = _session.variant(run.recipe)
        train_network(session, folder / run.folder, console=console, label=run.label, before=choices)
