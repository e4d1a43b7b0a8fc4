"""Several methods over several seeds at equal budget, from one teacher; the table is there from the first run on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from segdistill.comparison.plan import Plan, PlannedRun
from segdistill.comparison.scoreboard import Scoreboard
from segdistill.data import Layout
from segdistill.errors import UserError
from segdistill.recipes import Recipe, rows_of, teacher_rows
from segdistill.reports.summary import PublishedValue, Summary
from segdistill.reports.table import on_screen
from segdistill.runs import lock
from segdistill.runs.run_folder import RunFolder
from segdistill.system.processes import are_several
from segdistill.training.look import look_at_data
from segdistill.training.rehearsal import Rehearsal
from segdistill.training.session import Session
from segdistill.training.teacher_runs import check_teacher, train_teachers
from segdistill.training.train import train_network

# What ends one run and not the others: what the user can mend, no memory left, a bug in a loss or network of one's own.
MENDABLE = (UserError, RuntimeError, ValueError, TypeError, IndexError, AttributeError)


def why(error: Exception) -> str:
    """Return why a run failed, in a line."""
    if isinstance(error, UserError):
        return str(error)
    return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0][:200]}"


def compare(plan: Plan, folder: Path, *, console: Console, layout: Layout | None = None) -> Summary:
    """Run what is not finished of a comparison; the tables in ``folder`` are rewritten after every run.

    Finished runs are not repeated and a started one goes on from its checkpoint, however it was stopped. A run that
    fails stands in the table with its reason and the others go on; where several processes share a run it ends all,
    since they could not agree on it.

    Args:
        plan: What to run.
        folder: Its runs' folders lie here, by :attr:`PlannedRun.folder`, and the teacher's in ``teacher/``.
        console: Where to tell of it.
        layout: The data set's files, where they are scanned already.

    Returns:
        The tables.

    Raises:
        UserError: Whatever the user can mend: before the first run, what any of the runs would stumble on in its
            first step; after the last one, that runs failed.
        Stopped: Ctrl-C or SIGTERM, after a checkpoint was written.
    """
    lock.check_free(folder)
    board = Scoreboard(folder, plan)
    session = open_session(board.shared, layout)
    waiting = unfinished(plan, folder)
    if waiting:
        _print(console, f"{len(waiting)} of {len(plan.runs)} runs to do in {folder}, seed by seed")
        prepare(session, board, waiting, console)
    elif not board.pixels:  # of a record that was lost
        board.pixels = session.class_pixels()
    printed = published_values(plan)
    with lock.held(folder):
        summary = board.write(printed)
        if distilling := next((run.recipe for run in waiting if run.recipe.distils), None):
            ready_teacher(session, distilling, folder, console)
        for run in waiting:
            _run(run, session, board, console)
            summary = board.write(printed)
    console.print()
    console.print(on_screen(summary.methods))
    for warning in summary.warnings:
        _print(console, warning)
    _print(console, f"comparison.json, .md, .csv and .tex in {folder}")
    if board.failed:
        raise UserError(
            f"{len(board.failed)} of {len(plan.runs)} runs failed ({', '.join(board.failed)}); "
            f"{folder / 'comparison.md'} says why, and the same command tries them again"
        )
    return summary


def open_session(recipe: Recipe, layout: Layout | None = None) -> Session:
    """Open what the runs of a comparison or sweep share: data and one teacher, whatever a run's own recipe changes.

    Args:
        recipe: The recipe with the teacher.
        layout: The data set's files, where they are scanned already.
    """
    session = Session(recipe, layout)
    if recipe.teacher is not None:
        session.use_teacher(recipe.teacher)
    return session


def unfinished(plan: Plan, folder: Path) -> list[PlannedRun]:
    """Return the runs without a result.

    Raises:
        UserError: The folder of a run holds that of another recipe.
    """
    return [run for run in plan.runs if RunFolder(folder / run.folder, run.recipe).result is None]


def prepare(session: Session, board: Scoreboard, waiting: Sequence[PlannedRun], console: Console) -> None:
    """Check all that takes seconds: labels, one step of every method that has not started, the teacher's score.

    Raises:
        UserError: The first mistake, with the method.
    """
    recipes = {run.method: run.recipe for run in reversed(waiting)}
    for recipe in recipes.values():
        check_teacher(recipe)
    started = {run.method for run in board.plan.runs if RunFolder(board.folder / run.folder, run.recipe).has_begun}
    for method, recipe in reversed(recipes.items()):
        if method not in started:
            _rehearse(method, session.variant(recipe), console)
    look_at_data(session, console)
    board.pixels = session.class_pixels()
    if distilling := next((recipe for recipe in recipes.values() if recipe.distils), None):
        check_score(session.variant(distilling))


def _rehearse(method: str, session: Session, console: Console) -> None:
    with _named(method):
        rehearsal = Rehearsal(session)
    try:
        with _named(method):
            rehearsal.run()
    except UserError:
        look_at_data(session, console)  # where it was a label, this names the file
        raise


@contextmanager
def _named(method: str) -> Iterator[None]:
    """Say whose error it was."""
    try:
        yield
    except UserError as error:
        raise UserError(f"method '{method}': {error}") from None


def published_values(plan: Plan) -> Mapping[str, Sequence[PublishedValue]]:
    """Return published results by method, to stand beside the measured ones."""
    return {"teacher": teacher_rows(plan.shared), **{run.method: rows_of(run.recipe) for run in plan.runs}}


def ready_teacher(session: Session, recipe: Recipe, folder: Path, console: Console) -> None:
    """Train the teacher of a comparison or sweep in ``folder``, below ``teacher/``, where it has no weights yet.

    Args:
        session: Of the recipe with the teacher, and with the seed that it is trained with.
        recipe: One that distills.
        folder: The comparison's.
        console: Where to print.

    Raises:
        UserError: A teacher trained here that is below ``teacher.min_miou``; see also :func:`train_network`.
    """
    train_teachers(session, folder, console)
    check_score(session.variant(recipe))


def check_score(session: Session) -> None:
    """Refuse a weak teacher once, before each of the distilled runs would.

    Raises:
        UserError: It is below ``teacher.min_miou``.
    """
    if teacher := session.teacher():
        teacher.checked_score()


def _run(run: PlannedRun, session: Session, board: Scoreboard, console: Console) -> None:
    label = f"{run.method} seed {run.recipe.seed}"
    try:
        train_network(session.variant(run.recipe), board.folder / run.folder, console=console, label=label)
    except MENDABLE as error:
        reason = why(error)
        board.note(run, reason)
        _print(console, f"{label} failed: {reason}")
        if are_several():
            board.write()
            raise UserError(reason) from error
    else:
        board.note(run, None)


def _print(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)
