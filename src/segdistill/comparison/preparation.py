"""Before the first run of a comparison or sweep: the session of all runs, checks that take seconds, the teacher."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from segdistill.comparison.equal_budget import Equal, equalized
from segdistill.comparison.plan import Plan, PlannedRun, first_runs
from segdistill.comparison.scoreboard import Scoreboard
from segdistill.data import Layout
from segdistill.errors import UserError
from segdistill.recipes import Recipe
from segdistill.runs.run_folder import RunFolder
from segdistill.training.look import look_at_data
from segdistill.training.rehearsal import Rehearsal
from segdistill.training.session import Session
from segdistill.training.teacher_runs import check_teacher, train_teachers


def open_session(recipe: Recipe, layout: Layout | None = None, runs: Path = Path("runs")) -> Session:
    """Open a session for all runs of a comparison or sweep. They share the data, and this recipe's teacher.

    Args:
        recipe: The recipe with the teacher.
        layout: The data set's files, if they are already scanned.
        runs: The folder that holds the folder of the comparison or sweep.
    """
    session = Session(recipe, layout, runs)
    if recipe.teacher is not None:
        session.use_teacher(recipe.teacher)
    return session


def check_inputs(session: Session, board: Scoreboard, plan: Plan, equal: Equal | None, console: Console) -> None:
    """Check that data, weights and own code match the runs in the folder of a comparison.

    Args:
        session: The session of the recipe that all runs share.
        board: The record of the comparison.
        plan: The plan at equal steps.
        equal: What is equal instead, which changes the names of the rows.
        console: The console to print on.

    Raises:
        UserError: Something has changed; the message names it.
    """
    board.inputs.check(session, console)
    named = plan if equal is None else equalized(plan, equal, dict.fromkeys(plan.methods, 1))
    board.code.check(named.runs, board.begun(named.runs))


def unfinished(plan: Plan, folder: Path) -> list[PlannedRun]:
    """Return the runs without a result.

    Raises:
        UserError: If the folder of a run holds the run of another recipe.
    """
    return [run for run in plan.runs if RunFolder(folder / run.folder, run.recipe).result is None]


def prepare(session: Session, board: Scoreboard, waiting: Sequence[PlannedRun], console: Console) -> None:
    """Check what takes seconds: one step of every method that has not started, the labels, the teacher's score.

    Raises:
        UserError: At the first mistake. The message names the method.
    """
    distilling = [run.recipe for run in reversed(waiting) if run.recipe.distils]
    for recipe in distilling:
        check_teacher(recipe)
    started = {run.method for run in board.plan.runs if RunFolder(board.folder / run.folder, run.recipe).has_begun}
    for method, run in first_runs(waiting).items():
        if method not in started:
            _rehearse(method, session.variant(run.recipe), console)
    look_at_data(session, console)
    board.pixels = session.class_pixels()
    if distilling:
        check_score(session.variant(distilling[0]))


def _rehearse(method: str, session: Session, console: Console) -> None:
    with _named(method):
        rehearsal = Rehearsal(session)
    try:
        with _named(method):
            rehearsal.run()
    except UserError:
        look_at_data(session, console)  # if a label caused the error, this raises one that names the file
        raise


@contextmanager
def _named(method: str) -> Iterator[None]:
    """Add the method to the message of a UserError."""
    try:
        yield
    except UserError as error:
        raise UserError(f"method '{method}': {error}") from None


def ready_teacher(session: Session, recipe: Recipe, folder: Path, console: Console) -> None:
    """Train the teacher of a comparison or sweep in ``folder/teacher``, if it is still to be trained.

    Args:
        session: The session of the recipe with the teacher and the seed with which it is trained.
        recipe: A recipe that distills, for which the teacher's score is checked.
        folder: The folder of the comparison or sweep.
        console: The console to print on.

    Raises:
        UserError: If the teacher is below ``teacher.min_miou``; see also :func:`train_network`.
    """
    train_teachers(session, folder, console)
    check_score(session.variant(recipe))


def check_score(session: Session) -> None:
    """Check the teacher's score once, before the distilled runs do.

    Raises:
        UserError: If it is below ``teacher.min_miou``.
    """
    if teacher := session.teacher():
        teacher.checked_score()
