"""Sweep over keys of a recipe: Optuna proposes the values, each trial is a run, and the validation score decides."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from segdistill.comparison.preparation import check_score, open_session, ready_teacher
from segdistill.comparison.proposals import is_exhausted, next_trial, open_optuna, open_study, trials_of
from segdistill.comparison.run_loop import MENDABLE, why
from segdistill.comparison.search import Search
from segdistill.comparison.shared_inputs import KEY, SharedInputs
from segdistill.comparison.table_files import write_tables
from segdistill.data import Layout
from segdistill.errors import UserError
from segdistill.recipes import alone_recipe
from segdistill.reports.summary import Entry, Summary, summarize
from segdistill.reports.sweep_tables import SweepTables, Trial, sweep_tables
from segdistill.reports.table import on_screen
from segdistill.runs import lock
from segdistill.runs.json_files import read_json
from segdistill.runs.metric import metric_of
from segdistill.runs.run_folder import completed, refuse_other
from segdistill.training.look import look_at_data
from segdistill.training.rehearsal import rehearse_first
from segdistill.training.session import Session
from segdistill.training.teacher_runs import check_teacher
from segdistill.training.train import train_network
from segdistill.training.tuning import choices_in

RECORD = "sweep.json"
ALONE = "alone"


def sweep(search: Search, folder: Path, *, trials: int, console: Console, layout: Layout | None = None) -> None:
    """Run trials until there are ``trials`` of them, or one for each combination of values.

    The tables in ``folder`` are rewritten after every trial.

    The student alone is also trained, and the trials are listed with it in tables like those of a comparison. A stopped
    trial resumes from its checkpoint. The values of trial k depend only on the recipe's seed, k and the earlier trials,
    so a resumed sweep proposes the same values as one that was not stopped. The objective is the best mIoU on the
    validation set (for classification, top-1 accuracy); the test set has no influence.

    Args:
        search: The recipe and the keys to vary.
        folder: The folder of the sweep, with the trials, the teacher in ``teacher/`` and Optuna's journal.
        trials: Number of trials in all, including those that already exist and those that fail.
        console: The console to print on.
        layout: The data set's files, if they are already scanned.

    Raises:
        UserError: If Optuna is not installed, the folder holds another sweep, or the first step of a trial would fail.
        Stopped: At Ctrl-C or SIGTERM, after a checkpoint was written.
    """
    optuna = open_optuna()
    lock.check_free(folder)
    record = _open(search, folder)
    session = open_session(search.base, layout, folder.parent)
    inputs = SharedInputs(folder / RECORD, record)
    inputs.check(session, console, search.code)
    check_teacher(search.base)
    rehearse_first(session.variant(search.ends[0]), console)
    look_at_data(session, console)
    check_score(session)
    with lock.held(folder):
        tables = _trials(optuna, search, session, folder, trials, _problems(record), inputs, console)
    console.print()
    console.print(on_screen(tables.trials))
    console.print(f"{tables.best}; sweep.* and, with the student alone, comparison.* in {folder}", soft_wrap=True)


def _trials(
    optuna: ModuleType,
    search: Search,
    session: Session,
    folder: Path,
    trials: int,
    problems: dict[str, str],
    inputs: SharedInputs,
    console: Console,
) -> SweepTables:
    """Train the student alone and the trials that remain. Update the tables after each trial."""
    base = search.base
    if not (folder / RECORD).exists():
        _write(search, folder, [], problems, inputs)
    study = open_study(optuna, folder)
    if base.distils:
        ready_teacher(session, base, folder, console)
    train_network(session.variant(alone_recipe(base)), folder / ALONE, console=console, label="student alone")
    before = choices_in(folder / ALONE)
    while trial := next_trial(optuna, study, search, trials):
        name = trial_name(trial.trial)
        settings = " ".join(f"{key}={value}" for key, value in trial.values.items())
        console.print(f"{name} of {trials}: {settings}", soft_wrap=True)
        try:
            trial_session = session.variant(search.recipe(trial.values))
            result = train_network(trial_session, folder / name, console=console, label=name, before=before)
            study.tell(trial.number, result[f"val_{metric_of(result).key}"])
        except MENDABLE as error:
            problems[name] = why(error)
            console.print(f"{name} failed: {problems[name]}", soft_wrap=True)
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        _write(search, folder, trials_of(optuna, study), problems, inputs)
    finished = trials_of(optuna, study)
    if len(finished) < trials and is_exhausted(optuna, study, search):
        console.print(f"all {search.combinations} combinations of values are tried; more trials would repeat them")
    tables = _write(search, folder, finished, problems, inputs)
    for warning in _write_comparison(search, session, folder, finished, problems, inputs).warnings:
        console.print(warning, soft_wrap=True)
    return tables


def trial_name(number: int) -> str:
    """Return the name of a trial and of its folder."""
    return f"trial-{number:03d}"


def _open(search: Search, folder: Path) -> dict[str, Any]:
    """Return the record of the earlier trials; empty if there is none. Raise a UserError for the folder of another."""
    if search.base.train.devices != 1 or search.base.train.nodes != 1:
        raise UserError("a sweep trains on one device; give train.devices=1")
    if (folder / RECORD).exists():
        record = _read(folder / RECORD)
        now = _identity(search)
        refuse_other(folder, "sweep", {"recipe": completed(record["recipe"]), "space": record["space"]}, now)
        return record
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give a folder with --run-dir")
    if folder.is_dir() and any(file.name not in (f"{RECORD}.tmp", lock.FILE) for file in folder.iterdir()):
        raise UserError(f"{folder} is not empty and holds no sweep; give another --run-dir")
    return {}


def _problems(record: dict[str, Any]) -> dict[str, str]:
    """Return the problems of earlier trials by name."""
    return {each["trial"]: each["problem"] for each in record.get("trials", ()) if each["problem"] is not None}


def _read(record: Path) -> dict[str, Any]:
    try:
        content = read_json(record, "recipe", "space", "trials")
        if isinstance(content["recipe"], dict) and all(isinstance(trial, dict) for trial in content["trials"]):
            return {**content, "trials": [{"trial": None, "problem": None, **trial} for trial in content["trials"]]}
    except (UserError, TypeError):
        pass
    # The record cannot be restored: nothing else holds the search space of the trials.
    raise UserError(f"{record} is damaged; give another --run-dir, or delete the folder")


def _identity(search: Search) -> dict[str, Any]:
    space = {
        dimension.key: {**asdict(dimension), "choices": list(dimension.choices)} for dimension in search.dimensions
    }
    return {"recipe": search.base.model_dump(mode="json"), "space": space}


def _write(
    search: Search, folder: Path, trials: Sequence[Any], problems: dict[str, str], inputs: SharedInputs
) -> SweepTables:
    entries = [
        Trial(folder / trial_name(place), dict(trial.params), problems.get(trial_name(place)))
        for place, trial in enumerate(trials)
    ]
    recipe = search.base.model_dump(mode="json")
    tables = sweep_tables(entries, recipe, [dimension.key for dimension in search.dimensions])
    write_tables(folder / RECORD, {**_identity(search), KEY: inputs.known, **tables.record()}, tables.files())
    return tables


def _write_comparison(
    search: Search,
    session: Session,
    folder: Path,
    trials: Sequence[Any],
    problems: dict[str, str],
    inputs: SharedInputs,
) -> Summary:
    """Write the tables of a comparison: the student alone, then every trial as a method with changes."""
    base = search.base
    entries = [Entry("none", base.seed, folder / ALONE)]
    for place, trial in enumerate(trials):
        name = trial_name(place)
        values = ",".join(f"{key}={value}" for key, value in trial.params.items())
        entries.append(Entry(f"{base.label}:{values}", base.seed, folder / name, problems.get(name)))
    pixels = session.class_pixels()
    recipe = base.model_dump(mode="json")
    summary = summarize(entries, recipe, pixels, teacher=folder / "teacher", doubts=inputs.doubts)
    write_tables(folder / "comparison.json", {"pixels": pixels, **summary.record()}, summary.files())
    return summary
