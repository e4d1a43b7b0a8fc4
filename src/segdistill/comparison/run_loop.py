"""Loop over the runs of a comparison: one by one or several at a time. A run that fails does not end the others."""

from collections.abc import Iterator, Sequence

from rich.console import Console

from segdistill.comparison.parallel import train_in_parallel
from segdistill.comparison.plan import PlannedRun
from segdistill.comparison.scoreboard import Scoreboard
from segdistill.errors import UserError
from segdistill.runs.metric import metric_of
from segdistill.runs.run_folder import RunFolder
from segdistill.system.processes import are_several
from segdistill.training.session import Session
from segdistill.training.train import train_network
from segdistill.training.tuning import Choice

# Errors that end one run and not the others: errors of the user, out of memory, a bug in the user's loss or network.
MENDABLE = (UserError, RuntimeError, ValueError, TypeError, IndexError, AttributeError)


def why(error: Exception) -> str:
    """Return the reason why a run failed, in one line."""
    if isinstance(error, UserError):
        return str(error)
    return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0][:200]}"


def train_runs(
    runs: Sequence[PlannedRun],
    session: Session,
    board: Scoreboard,
    console: Console,
    jobs: int,
    choices: Sequence[Choice],
) -> Iterator[PlannedRun]:
    """Train the runs, and yield each when it has ended. A run that fails is noted on the board.

    Args:
        runs: The unfinished runs.
        session: The session of the comparison, whose teacher has weights.
        board: The record of the comparison.
        console: The console to print on.
        jobs: Number of runs at the same time, each in a separate process.
        choices: The forms in which the networks train.

    Raises:
        UserError: A run failed in a training of several processes.
        Stopped: At Ctrl-C or SIGTERM, after a checkpoint was written.
    """
    if jobs > 1 and len(runs) > 1:
        several = min(jobs, len(runs))
        for run, error in train_in_parallel(
            runs, session, board.folder, jobs=several, choices=choices, console=console
        ):
            _note(run, error, board, console)
            yield run
    else:
        for run in runs:
            _run(run, session, board, console, choices)
            yield run


def _run(run: PlannedRun, session: Session, board: Scoreboard, console: Console, choices: Sequence[Choice]) -> None:
    folder = board.folder / run.folder
    try:
        train_network(session.variant(run.recipe), folder, console=console, label=run.label, before=choices)
    except MENDABLE as error:
        _failed(run, error, board, console)
        if are_several():
            board.write()
            raise UserError(why(error)) from error
    else:
        board.note(run, None)


def _failed(run: PlannedRun, error: Exception, board: Scoreboard, console: Console) -> None:
    """Note that a run failed, and print the reason."""
    board.note(run, why(error))
    console.print(f"{run.label} failed: {why(error)}", soft_wrap=True)


def _note(run: PlannedRun, error: Exception | None, board: Scoreboard, console: Console) -> None:
    """Note the end of a run in another process, and print it."""
    if error is not None:
        if not isinstance(error, MENDABLE):
            raise error
        _failed(run, error, board, console)
        return
    board.note(run, None)
    result = RunFolder(board.folder / run.folder, run.recipe).result
    assert result is not None
    metric = metric_of(result)
    console.print(f"{run.label}: {result[metric.key]:.1%} {metric.name} on {result['split']}", soft_wrap=True)
