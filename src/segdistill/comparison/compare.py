"""Several methods over several seeds at equal budget, from one teacher; the table is there from the first run on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from segdistill.comparison.plan import Plan, PlannedRun
from segdistill.comparison.scoreboard import Scoreboard
from segdistill.data import class_frequencies
from segdistill.errors import UserError
from segdistill.recipes import Recipe, rows_of, teacher_rows
from segdistill.recipes.schema import Teacher
from segdistill.reports.summary import PublishedValue
from segdistill.reports.table import on_screen
from segdistill.runs import lock
from segdistill.runs.run_folder import RunFolder
from segdistill.system.processes import are_several
from segdistill.training.build import build_dataset
from segdistill.training.rehearsal import Rehearsal
from segdistill.training.run import check_labels, checked_teacher, trained_teacher
from segdistill.training.train import load_teacher, make_fabric, run_student

# What ends one run and not the others: what the user can mend, no memory left, a bug in a loss or network of one's own.
MENDABLE = (UserError, RuntimeError, ValueError, TypeError, IndexError, AttributeError)


def why(error: Exception) -> str:
    """Return why a run failed, in a line."""
    if isinstance(error, UserError):
        return str(error)
    return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0][:200]}"


def compare(plan: Plan, folder: Path, *, console: Console) -> None:
    """Run what is not finished of a comparison; the tables in ``folder`` are rewritten after every run.

    Finished runs are not repeated and a started one goes on from its checkpoint, however it was stopped. A run that
    fails stands in the table with its reason and the others go on; where several processes share a run it ends all,
    since they could not agree on it.

    Args:
        plan: What to run.
        folder: Its runs' folders lie here, by :attr:`PlannedRun.folder`, and the teacher's in ``teacher/``.
        console: Where to tell of it.

    Raises:
        UserError: Whatever the user can mend: before the first run, what any of the runs would stumble on in its
            first step; after the last one, that runs failed.
        Stopped: Ctrl-C or SIGTERM, after a checkpoint was written.
    """
    lock.check_free(folder)
    board = Scoreboard(folder, plan)
    waiting = unfinished(plan, folder)
    teacher = None
    if waiting:
        _say(console, f"{len(waiting)} of {len(plan.runs)} runs to do in {folder}, seed by seed")
        teacher = prepare(board, waiting, console)
    elif not board.pixels:  # of a record that was lost
        board.pixels = class_pixels(board.shared)
    printed = published_values(plan)
    with lock.held(folder):
        summary = board.write(printed)
        if teacher is not None:
            teacher = ready_teacher(board.shared, teacher, board.folder, console)
        for run in waiting:
            _run(run, board, teacher, console)
            summary = board.write(printed)
    console.print()
    console.print(on_screen(summary.methods))
    for warning in summary.warnings:
        _say(console, warning)
    _say(console, f"comparison.json, .md, .csv and .tex in {folder}")
    if board.failed:
        raise UserError(
            f"{len(board.failed)} of {len(plan.runs)} runs failed ({', '.join(board.failed)}); "
            f"{folder / 'comparison.md'} says why, and the same command tries them again"
        )


def unfinished(plan: Plan, folder: Path) -> list[PlannedRun]:
    """Return the runs without a result.

    Raises:
        UserError: The folder of a run holds that of another recipe.
    """
    return [run for run in plan.runs if RunFolder(folder / run.folder, run.recipe).result is None]


def prepare(board: Scoreboard, waiting: Sequence[PlannedRun], console: Console) -> Teacher | None:
    """Check all that can be checked in seconds: labels, one step of every method that has not begun.

    Returns:
        The teacher, where one of the runs needs it; it is yet to be trained if it says so.

    Raises:
        UserError: The first thing that is wrong, with the method.
    """
    recipes = {run.method: run.recipe for run in reversed(waiting)}
    teachers = [checked_teacher(recipe) for recipe in recipes.values()]
    begun = {run.method for run in board.plan.runs if RunFolder(board.folder / run.folder, run.recipe).has_begun}
    for method, recipe in reversed(recipes.items()):
        if method not in begun:
            _rehearse(method, recipe, console)
    check_labels(board.shared, console)
    board.pixels = class_pixels(board.shared)
    teacher = next((teacher for teacher in teachers if teacher is not None), None)
    if teacher is not None and teacher.is_trained:
        check_score(board.shared, teacher)
    return teacher


def _rehearse(method: str, recipe: Recipe, console: Console) -> None:
    with _named(method):
        rehearsal = Rehearsal(recipe)
    try:
        with _named(method):
            rehearsal.run()
    except UserError:
        check_labels(recipe, console)  # where it was a label, this names the file
        raise


@contextmanager
def _named(method: str) -> Iterator[None]:
    """Say whose error it was."""
    try:
        yield
    except UserError as error:
        raise UserError(f"method '{method}': {error}") from None


def class_pixels(recipe: Recipe) -> dict[str, int]:
    """Count the pixels of each class in all training labels; of a classification set, the images."""
    found = class_frequencies(build_dataset(recipe.data, "train"))
    return dict(zip(found.names, found.counts, strict=True))


def published_values(plan: Plan) -> Mapping[str, Sequence[PublishedValue]]:
    """Return published results by method, to stand beside the measured ones."""
    return {"teacher": teacher_rows(plan.shared), **{run.method: rows_of(run.recipe) for run in plan.runs}}


def ready_teacher(shared: Recipe, teacher: Teacher, folder: Path, console: Console) -> Teacher:
    """Return the teacher with its weights, trained in ``folder`` first, below ``teacher/``, if it says so.

    Raises:
        UserError: A teacher trained here that is below ``teacher.min_miou``; see also :func:`run_student`.
    """
    if teacher.is_trained:
        return teacher
    teacher = trained_teacher(shared, teacher, folder, console)
    check_score(shared, teacher)
    return teacher


def check_score(recipe: Recipe, teacher: Teacher) -> None:
    """Refuse a bad teacher once, before each of the distilled runs would."""
    load_teacher(teacher, build_dataset(recipe.data, "val"), make_fabric(recipe.train), recipe.data)


def _run(run: PlannedRun, board: Scoreboard, teacher: Teacher | None, console: Console) -> None:
    label = f"{run.method} seed {run.recipe.seed}"
    try:
        run_student(
            run.recipe,
            board.folder / run.folder,
            console=console,
            label=label,
            teacher=teacher if run.recipe.distils else None,
        )
    except MENDABLE as error:
        reason = why(error)
        board.note(run, reason)
        _say(console, f"{label} failed: {reason}")
        if are_several():
            board.write()
            raise UserError(reason) from error
    else:
        board.note(run, None)


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)
