"""A whole run, from recipe to table: teacher, distilled student, student alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from segdistill.data import Layout, SegmentationDataset
from segdistill.errors import UserError
from segdistill.recipes import Recipe, alone_recipe
from segdistill.reports.drawing import is_whole
from segdistill.reports.html.page import FILE
from segdistill.reports.run_table import run_table
from segdistill.runs import lock
from segdistill.runs.metric import METRICS, metric_of
from segdistill.runs.run_folder import RunFolder
from segdistill.training import run_pictures
from segdistill.training.build import build_trained
from segdistill.training.console import quiet
from segdistill.training.look import look_at_data
from segdistill.training.rehearsal import rehearse_first
from segdistill.training.repeat_threads import repeat_threads
from segdistill.training.report import report_run
from segdistill.training.session import Session
from segdistill.training.teacher_runs import check_teacher, train_teachers
from segdistill.training.train import train_network
from segdistill.training.tuning import choices_in


def distill(
    recipe: Recipe, folder: Path, *, console: Console, must_exist: bool = False, layout: Layout | None = None
) -> dict[str, Any]:
    """Run a recipe in ``folder`` and return the student's result. A finished part is not run again.

    If the recipe has ``teacher.train``, the teacher is trained first, in ``teacher/``. With ``baseline``, the student
    is also trained alone, in ``alone/``. A recipe without distillation terms trains the student alone.

    Args:
        recipe: The recipe to run.
        folder: The run's folder.
        console: The console to print on.
        must_exist: Only resume an existing run, and accept the changes that :class:`RunFolder` permits.
        layout: The data set's files, if they are already scanned.

    Raises:
        UserError: At a mistake that the user can correct.
    """
    lock.check_free(folder)
    run_folder = RunFolder(folder, recipe, must_exist=must_exist, accepts_changes=must_exist)
    session = Session(recipe, layout, folder.parent)
    trains_alone = recipe.baseline and recipe.distils
    is_finished = run_folder.result is not None and (not trains_alone or (folder / "alone" / "result.json").exists())
    if is_finished and run_folder.changes:
        raise UserError(f"{folder} is finished ({run_folder.changes[0]}); give another --run-dir for changed settings")
    if is_finished and _is_drawn(folder, run_folder.result):
        _print(console, f"{folder} is finished; give another --run-dir to run it again")
    else:
        _print_plan(console, recipe, folder)
        check_teacher(recipe)
        if not run_folder.has_begun:
            rehearse_first(session, console)
        look_at_data(session, console)
        with lock.held(folder):
            repeat_threads(folder, console, recipe.name)
            run_folder.claim()
            try:
                _run(session, run_folder, console)
            except UserError:
                run_folder.abandon()
                raise
    console.print()
    console.print(run_table(folder))
    if not (is_finished and (folder / FILE).exists()):
        report_run(session, folder, console)
    _print(console, f"report.html, pictures, records and student.safetensors in {folder}")
    result = run_folder.result
    assert result is not None
    return result


def _run(session: Session, run_folder: RunFolder, console: Console) -> None:
    recipe, folder, accepts = session.recipe, run_folder.path, run_folder.accepts_changes
    changed = accepts or bool(run_folder.recorded_changes)  # the runs of teacher and baseline get the same changes
    if recipe.distils:
        train_teachers(session, folder, console, accepts_changes=changed)
    label = "distilled" if recipe.distils else "student alone"
    train_network(session, folder, console=console, label=label, accepts_changes=accepts)
    if recipe.distils and recipe.baseline:
        alone = session.variant(alone_recipe(recipe))
        train_network(
            alone,
            folder / "alone",
            console=console,
            label="student alone",
            accepts_changes=changed,
            before=choices_in(folder),
        )
    _draw(session, folder)


def _is_drawn(folder: Path, result: Mapping[str, Any] | None) -> bool:
    """Return True if the pictures of a finished run exist. Classification has none."""
    names = ("comparison.png", "training_samples.png")
    return metric_of(result or {}) != METRICS["segmentation"] or all(
        is_whole(folder / "figures" / name) for name in names
    )


def _draw(session: Session, folder: Path) -> None:
    dataset = session.dataset(session.final_split)
    if session.fabric.global_rank != 0 or not isinstance(dataset, SegmentationDataset):
        return
    recipe, classes = session.recipe, dataset.classes

    def student(run: Path) -> nn.Module:
        with quiet():
            return build_trained(recipe.student, run, classes)

    networks = {}
    teacher = session.teacher()
    if teacher is None:
        networks["student alone"] = student(folder)
    else:
        if recipe.baseline:
            networks["student alone"] = student(folder / "alone")
        networks["distilled"] = student(folder)
        networks["teacher"] = teacher.network
    file = folder / "figures" / "comparison.png"
    run_pictures.side_by_side(networks, dataset, session.fabric, file, recipe.evaluation)


def _print_plan(console: Console, recipe: Recipe, folder: Path) -> None:
    _print(console, f"{recipe.name}: {recipe.description}" if recipe.description else recipe.name)
    teachers = recipe.teacher.each.values() if recipe.teacher is not None and recipe.distils else ()
    named = " + ".join(teacher.model for teacher in teachers) or "none"
    _print(console, f"student {recipe.student.model}, teacher {named}, method {recipe.label}, seed {recipe.seed}")
    train = recipe.train
    _print(console, f"data {recipe.data.name}, {train.iterations} steps of {train.batch_size} images, run in {folder}")


def _print(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)
