"""Comparison of methods over seeds at equal budget, with one teacher. The tables exist from the first run on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from segdistill.comparison.equal_budget import Equal, equalized, first_runs
from segdistill.comparison.equal_record import EqualRecord, decide, read_record
from segdistill.comparison.parallel import train_in_parallel
from segdistill.comparison.plan import ALONE, Plan, PlannedRun
from segdistill.comparison.report import last_lines, write_comparison_report
from segdistill.comparison.scoreboard import Scoreboard
from segdistill.data import Layout
from segdistill.errors import UserError
from segdistill.recipes import Recipe, rows_of, teacher_rows
from segdistill.reports.differences import Differences
from segdistill.reports.html.content import Content
from segdistill.reports.summary import PublishedValue, Summary
from segdistill.reports.table import on_screen
from segdistill.runs import lock
from segdistill.runs.metric import metric_of
from segdistill.runs.run_folder import RunFolder
from segdistill.system.processes import are_several
from segdistill.training.look import look_at_data
from segdistill.training.rehearsal import Rehearsal
from segdistill.training.report import unless_it_fails
from segdistill.training.session import Session
from segdistill.training.teacher_runs import check_teacher, train_teachers
from segdistill.training.train import train_network

# Errors that end one run and not the others: errors of the user, out of memory, a bug in the user's loss or network.
MENDABLE = (UserError, RuntimeError, ValueError, TypeError, IndexError, AttributeError)


def why(error: Exception) -> str:
    """Return the reason why a run failed, in one line."""
    if isinstance(error, UserError):
        return str(error)
    return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0][:200]}"


def compare(
    plan: Plan,
    folder: Path,
    *,
    console: Console,
    layout: Layout | None = None,
    jobs: int = 1,
    equal: Equal | None = None,
    against: str = ALONE,
) -> Summary:
    """Run the unfinished runs of a comparison. The tables in ``folder`` are rewritten after every run.

    Finished runs are not repeated, and a stopped run resumes from its checkpoint. If a run fails, the table shows the
    reason and the other runs continue. With several processes, a failed run ends the comparison, because the processes
    cannot agree on the failure.

    Args:
        plan: The plan of the comparison.
        folder: The folder of the comparison. Each run is in the subfolder :attr:`PlannedRun.folder`, the teacher in
            ``teacher/``.
        console: The console to print on.
        layout: The data set's files, if they are already scanned.
        jobs: Number of runs at the same time, each in a separate process.
        equal: What all methods have in common instead of the number of steps. Their steps are decided once.
        against: The method to which the differences with intervals refer.

    Returns:
        The tables.

    Raises:
        UserError: Before the first run, if the first step of any run would fail; after the last run, if runs failed.
        Stopped: At Ctrl-C or SIGTERM, after a checkpoint was written.
    """
    lock.check_free(folder)
    board = Scoreboard(folder, plan, against)
    session = open_session(board.shared, layout, folder.parent)
    record, is_prepared = None, False
    if equal is not None:
        plan, record, is_prepared = _equalized(plan, equal, session, board, console)
        pixels, board = board.pixels, Scoreboard(folder, plan, against)
        board.pixels = board.pixels or pixels
    waiting = unfinished(plan, folder)
    if waiting:
        _print(console, f"{len(waiting)} of {len(plan.runs)} runs to do in {folder}, seed by seed")
        if not is_prepared:
            prepare(session, board, waiting, console)
    elif not board.pixels:  # the record was lost
        board.pixels = session.class_pixels()
    printed = published_values(plan)
    with lock.held(folder):
        summary = board.write(printed)
        if distilling := next((run.recipe for run in waiting if run.recipe.distils), None):
            ready_teacher(session, distilling, folder, console)
        for _ in _all(waiting, session, board, console, jobs, record):
            summary = board.write(printed)
    console.print()
    console.print(on_screen(summary.methods))
    print_differences(summary.differences, console)
    for warning in summary.warnings:
        _print(console, warning)
    content = _report(session, board, console)
    _print(console, f"report.html, comparison.json, .md, .csv and .tex in {folder}")
    for line in last_lines(content) if content is not None else ():
        _print(console, line)
    if board.failed:
        raise UserError(
            f"{len(board.failed)} of {len(plan.runs)} runs failed ({', '.join(board.failed)}); "
            f"{folder / 'comparison.md'} gives the reasons, and the same command tries them again"
        )
    return summary


def print_differences(found: Differences, console: Console) -> None:
    """Print for each group of classes what follows from the differences, and their table, for 80 columns or more."""
    if found.table.rows:
        _print(console, f"\n{found.table.title}")
    for group, conclusion in found.conclusions.items():
        _print(console, f"\n{conclusion}")
        shown = found.table.where("classes", group).without("classes", "seeds", "p")
        console.print(on_screen(shown, unbroken=("difference_points", "over_seeds", "over_images")))
    for line in found.missing:
        _print(console, line)


def _equalized(
    plan: Plan, equal: Equal, session: Session, board: Scoreboard, console: Console
) -> tuple[Plan, EqualRecord, bool]:
    """Return the plan at equal time or operations, the record of its steps, and whether methods were checked for it."""
    folder = board.folder
    record = read_record(folder, equal, plan)
    missing = [method for method in plan.methods if record is None or method not in record.methods]
    if missing:
        prepare(session, board, list(first_runs(plan, missing).values()), console)
        with lock.held(folder):
            board.write()
            if distilling := next((run.recipe for run in plan.runs if run.recipe.distils), None):
                ready_teacher(session, distilling, folder, console)
            record = decide(plan, equal, record, session, folder, console)
    assert record is not None
    return equalized(plan, equal, record.steps), record, bool(missing)


def _report(session: Session, board: Scoreboard, console: Console) -> Content | None:
    """Write the report, if a run is finished."""
    recipes = [
        run.recipe for run in board.plan.runs if RunFolder(board.folder / run.folder, run.recipe).result is not None
    ]
    if not recipes:
        return None
    recipe = next((each for each in recipes if each.distils), recipes[0])
    return unless_it_fails(lambda: write_comparison_report(session.variant(recipe), board.folder), console)


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
        look_at_data(session, console)  # if a label caused the error, this raises one that names the file
        raise


@contextmanager
def _named(method: str) -> Iterator[None]:
    """Add the method to the message of a UserError."""
    try:
        yield
    except UserError as error:
        raise UserError(f"method '{method}': {error}") from None


def published_values(plan: Plan) -> Mapping[str, Sequence[PublishedValue]]:
    """Return the published results of each method, to be shown next to the measured ones."""
    return {"teacher": teacher_rows(plan.shared), **{run.method: rows_of(run.recipe) for run in plan.runs}}


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


def _all(
    runs: Sequence[PlannedRun],
    session: Session,
    board: Scoreboard,
    console: Console,
    jobs: int,
    record: EqualRecord | None,
) -> Iterator[PlannedRun]:
    """Train the runs, and yield each when it has ended."""
    forms = {run.method: record.forms(run.method) for run in runs} if record is not None else {}
    if jobs > 1 and len(runs) > 1:
        for run, error in train_in_parallel(runs, session, board.folder, jobs=min(jobs, len(runs)), forms=forms):
            _note(run, error, board, console)
            yield run
    else:
        for run in runs:
            _run(run, session, board, console, forms.get(run.method))
            yield run


def _run(
    run: PlannedRun, session: Session, board: Scoreboard, console: Console, forms: Mapping[str, Any] | None
) -> None:
    folder = board.folder / run.folder
    try:
        train_network(session.variant(run.recipe), folder, console=console, label=run.label, forms=forms)
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
    _print(console, f"{run.label} failed: {why(error)}")


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
    _print(console, f"{run.label}: {result[metric.key]:.1%} {metric.name} on {result['split']}")


def _print(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)
