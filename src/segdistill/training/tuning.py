"""Choice of the form in which the networks of a run train. Equal networks that are compared have equal forms.

A form is chosen by a measurement, which noise can change, and dropout draws other masks in another memory format.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from segdistill.distillation.distiller import Distiller
from segdistill.recipes import Recipe
from segdistill.runs.forms import FILE
from segdistill.runs.json_files import read_json
from segdistill.runs.records import write_json
from segdistill.training.forms import measure_forms, use_forms
from segdistill.training.session import Session

# Training settings on which the speed of a form depends.
SETTINGS = (
    "accelerator", "devices", "nodes", "batch_size", "accumulate", "precision", "compile", "recompute", "plain",
)  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """The forms that were chosen for a run, and what the choice depends on.

    Attributes:
        student: The settings on which the student's form depends.
        teacher: The further settings on which the teacher's form depends; empty without a teacher.
        forms: The record of :func:`segdistill.training.forms.measure_forms`.
    """

    student: Mapping[str, Any]
    teacher: Mapping[str, Any]
    forms: Mapping[str, Any]


def choose(session: Session, distiller: Distiller, console: Console, before: Iterable[Choice] = ()) -> Choice:
    """Return the forms of a run. Forms of earlier choices are taken over where the settings are the same.

    Every process has the forms that the first one chooses.

    Args:
        session: The opened recipe.
        distiller: The Distiller of the run, not wrapped.
        console: The console to print on.
        before: The earlier choices.
    """
    student, teacher = _settings_of_student(session.recipe), _settings_of_teacher(session.recipe, distiller)
    alike = [choice for choice in before if choice.student == student]
    forms = next((choice.forms for choice in alike if choice.teacher == teacher), None)
    if forms is None:
        known = next((choice.forms["student"] for choice in alike if choice.forms), None)
        forms = measure_forms(session, distiller, console, {} if known is None else {"student": known})
    chosen: Choice = session.fabric.broadcast(Choice(student, teacher, forms))
    return chosen


def tune(
    session: Session,
    distiller: Distiller,
    folder: Path,
    console: Console,
    *,
    is_new: bool,
    before: Iterable[Choice] = (),
) -> int:
    """Give the networks of a run the forms that ``speed.json`` records, or else those that are chosen now.

    Args:
        session: The opened recipe.
        distiller: The Distiller of the run, not wrapped.
        folder: The run's folder.
        console: The console to print on.
        is_new: False if the run has a checkpoint. Without a record it continues as it began, plain.
        before: The choices of the runs with which this one is compared.

    Returns:
        The number of loader processes.
    """
    if session.recipe.train.plain:
        return session.recipe.data.loaders
    chosen = next(iter(choices_in(folder)), None)
    if chosen is None and is_new:
        chosen = choose(session, distiller, console, before)
        if chosen.forms and session.fabric.global_rank == 0:
            write_json(folder / FILE, {**chosen.forms, "settings": [chosen.student, chosen.teacher]})
    chosen = session.fabric.broadcast(chosen)
    return use_forms(session, distiller, {} if chosen is None else chosen.forms)


def choices_in(folder: Path) -> tuple[Choice, ...]:
    """Return the choice that is recorded in a run's folder, if there is one."""
    file = folder / FILE
    if not file.exists():
        return ()
    forms = read_json(file, "student", "teacher")
    student, teacher = forms.pop("settings", ({}, {}))  # missing in older records
    return (Choice(student, teacher, forms),)


def _settings_of_student(recipe: Recipe) -> dict[str, Any]:
    train = recipe.train.model_dump(mode="json")
    return {
        "data": recipe.data.model_dump(mode="json"),
        "student": recipe.student.model_dump(mode="json"),
        "train": {key: train[key] for key in SETTINGS},
    }


def _settings_of_teacher(recipe: Recipe, distiller: Distiller) -> dict[str, Any]:
    if recipe.teacher is None or distiller.teacher is None:
        return {}
    return {"teacher": recipe.teacher.model_dump(mode="json"), "features": list(distiller.teacher_features)}
