"""Comparison of methods over seeds at equal budget, with one teacher. The tables exist from the first run on."""

from pathlib import Path

from rich.console import Console

from segdistill.comparison.equal_budget import Equal, equalized
from segdistill.comparison.equal_record import decide, read_record
from segdistill.comparison.method_rows import ALONE
from segdistill.comparison.plan import Plan, first_runs
from segdistill.comparison.preparation import check_inputs, open_session, prepare, ready_teacher, unfinished
from segdistill.comparison.report import last_lines, write_comparison_report
from segdistill.comparison.run_loop import train_runs
from segdistill.comparison.scoreboard import Scoreboard, published_values
from segdistill.comparison.shared_forms import SharedForms
from segdistill.data import Layout
from segdistill.errors import UserError
from segdistill.reports.differences import Differences
from segdistill.reports.html.content import Content
from segdistill.reports.summary import Summary
from segdistill.reports.table import on_screen
from segdistill.runs import lock
from segdistill.runs.run_folder import RunFolder
from segdistill.training.report import unless_it_fails
from segdistill.training.session import Session


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
        UserError: Before the first run, if data, weights or own code are not those of the runs in the folder, or the
            first step of any run would fail; after the last run, if runs failed.
        Stopped: At Ctrl-C or SIGTERM, after a checkpoint was written.
    """
    lock.check_free(folder)
    board = Scoreboard(folder, plan, against)
    session = open_session(board.shared, layout, folder.parent)
    check_inputs(session, board, plan, equal, console)
    forms, is_prepared = SharedForms(folder), False
    if equal is not None:
        plan, is_prepared = _equalized(plan, equal, session, forms, board, console)
        before, board = board, Scoreboard(folder, plan, against)
        board.pixels, board.inputs, board.code = board.pixels or before.pixels, before.inputs, before.code
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
        forms.choose(waiting, session, console)
        for _ in train_runs(waiting, session, board, console, jobs, forms.choices):
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


def _equalized(
    plan: Plan, equal: Equal, session: Session, forms: SharedForms, board: Scoreboard, console: Console
) -> tuple[Plan, bool]:
    """Return the plan at equal time or operations, and whether methods were checked for it."""
    folder = board.folder
    record = read_record(folder, equal, plan)
    missing = [method for method in plan.methods if record is None or method not in record.methods]
    if missing:
        firsts = first_runs(plan.runs)
        prepare(session, board, [firsts[method] for method in missing], console)
        with lock.held(folder):
            board.write()
            if distilling := next((run.recipe for run in plan.runs if run.recipe.distils), None):
                ready_teacher(session, distilling, folder, console)
            record = decide(plan, equal, record, session, forms, folder, console)
    assert record is not None
    return equalized(plan, equal, record.steps), bool(missing)


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


def _report(session: Session, board: Scoreboard, console: Console) -> Content | None:
    """Write the report, if a run is finished."""
    recipes = [
        run.recipe for run in board.plan.runs if RunFolder(board.folder / run.folder, run.recipe).result is not None
    ]
    if not recipes:
        return None
    recipe = next((each for each in recipes if each.distils), recipes[0])
    return unless_it_fails(lambda: write_comparison_report(session.variant(recipe), board.folder), console)


def _print(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)
