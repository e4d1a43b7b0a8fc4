"""Job that writes the reports of runs and comparisons."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from segdistill.errors import UserError
from segdistill.jobs.checks import layout_of_run
from segdistill.jobs.threads import idle_threads
from segdistill.recipes import Recipe, load
from segdistill.recipes.own_code import named_code
from segdistill.system.terminal import open_console

if TYPE_CHECKING:
    from segdistill.training.session import Session


def report(runs: Sequence[str | Path], *, trust: bool = False, console: Console | None = None) -> list[Path]:
    """Write ``report.html`` into the folder of each run or comparison, and return the files.

    The command ``segdistill report`` calls this function. Tables and curves need the records alone; pictures and times
    need the data set and the students too, and are left out where these are missing.

    Args:
        runs: Folders of runs or comparisons.
        trust: Import the code that a folder names as its network.
        console: The console to print on; by default standard output.

    Raises:
        UserError: A folder holds neither, or a record in it is damaged.
    """
    console, folders = console or open_console(), [Path(run) for run in runs]
    for folder in folders:
        _check(folder)
    files = []
    with idle_threads(console, silent=True):
        from segdistill.reports.html.page import FILE

        for folder in folders:
            for line in _write(folder, trust):
                console.print(line, soft_wrap=True)
            files.append(folder / FILE)
            console.print(f"{folder / FILE}", soft_wrap=True)
    return files


def _check(folder: Path) -> None:
    """Raise a UserError unless a folder holds a run or a comparison."""
    if (folder / "sweep.json").exists():
        raise UserError(f"{folder} is a sweep; give the folders of its trials, or read sweep.md")
    names = ("comparison.json", "result.json", "metrics.jsonl", "recipe.yaml")
    if not any((folder / name).is_file() for name in names):
        raise UserError(
            f"{folder} holds no run or comparison; give a folder that distill, train or compare has written"
        )


def _write(folder: Path, trust: bool) -> tuple[str, ...]:
    """Write the report of one folder, and return what it lacks."""
    from segdistill.comparison.report import pictured, write_comparison_report
    from segdistill.reports.html.content import comparison_content
    from segdistill.training.report import write_run_report

    if not (folder / "comparison.json").is_file():
        session, missing = _open(folder / "recipe.yaml", trust)
        return write_run_report(session, folder, missing).measured.missing
    recipes = [run.records.folder / "recipe.yaml" for run in pictured(comparison_content(folder))]
    session, missing = _open(recipes[-1], trust) if recipes else (None, "No run is finished.")  # the last one distills
    return write_comparison_report(session, folder, missing).measured.missing


def _open(file: Path, trust: bool) -> "tuple[Session | None, str]":
    """Return the session of a run's recipe; None, and the reason, if it or its data set cannot be opened."""
    from segdistill.training.session import Session

    try:
        recipe: Recipe = load(file)
        if not trust and (code := named_code(recipe)):
            raise UserError(f"{file} names code to import, '{', '.join(code)}'; if you trust it, give --trust")
        return Session(recipe, layout_of_run(file.parent, recipe)), ""
    except UserError as error:
        return None, f"There are no pictures: {error}"
