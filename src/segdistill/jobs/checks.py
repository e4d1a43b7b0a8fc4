"""Checks of a recipe before PyTorch is imported, so that mistakes are reported at once."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.data import Layout, open_layout
from segdistill.data.layouts.recorded import SPLIT_FILE, with_recorded_split
from segdistill.errors import UserError
from segdistill.models.names import check_name
from segdistill.recipes import Recipe, files_of, load
from segdistill.recipes.own_code import named_code
from segdistill.runs.json_files import read_json

Changes = Sequence[str] | Mapping[str, Any]
"""Changes to a recipe: ``["train.iterations=500"]`` or ``{"train.iterations": 500}``."""


@dataclass(frozen=True)
class CheckedRecipe:
    """Recipe whose names, files and folders exist.

    Attributes:
        recipe: The recipe.
        layout: The files of the data set.
    """

    recipe: Recipe
    layout: Layout


def as_arguments(changes: Changes) -> list[str]:
    """Return changes in the form ``key=value`` of the command line."""
    if not isinstance(changes, Mapping):
        return list(changes)
    return [f"{key}={json.dumps(value, default=str)}" for key, value in changes.items()]


def check_recipe(source: str | Path, changes: Sequence[str], *, trust: bool) -> CheckedRecipe:
    """Load a recipe, and check names, files of weights and the data set's files.

    Args:
        source: A built-in recipe or a YAML file.
        changes: Changes to it.
        trust: Import the code that a run's folder names.

    Raises:
        UserError: At the first mistake.
    """
    recipe = load(source, changes)
    if not trust:
        _check_code(source, recipe, changes)
    check_name(recipe.student.model)
    for name, teacher in (recipe.teacher.each if recipe.teacher is not None else {}).items():
        check_name(teacher.model)
        if teacher.weights is not None and not Path(teacher.weights).expanduser().exists():
            key, remedy = f"teacher.members.{name}", "correct the path"
            if recipe.teacher is teacher:
                key, remedy = "teacher", f"{remedy}, or train it: teacher.weights=null teacher.train.iterations=NUMBER"
            raise UserError(f"{key}.weights: no such file or run folder: {teacher.weights}; {remedy}")
    if recipe.student.weights is not None and not Path(recipe.student.weights).expanduser().exists():
        raise UserError(
            f"student.weights: no such file: {recipe.student.weights}; correct the path, or set student.weights=null"
        )
    return CheckedRecipe(recipe, check_layout(recipe))


def check_layout(recipe: Recipe) -> Layout:
    """Scan the files of the data set.

    Raises:
        UserError: If the folder does not have the layout that ``data.name`` names, or train or val is missing.
    """
    layout = open_layout(recipe.data.name, recipe.data.root, recipe.data.split)
    for split in ("train", "val"):
        layout.split(split)
    return layout


def layout_of_run(folder: Path, recipe: Recipe) -> Layout:
    """Return the files of a run's data set, split as in the run.

    ``data.split`` would divide a folder with more or fewer images otherwise, and a training image could be scored.

    Raises:
        UserError: See :func:`check_layout`. An image of the run is missing.
    """
    layout, file = check_layout(recipe), folder / SPLIT_FILE
    if recipe.data.split is None or not file.is_file():
        return layout
    return with_recorded_split(layout, read_json(file, "train", "val"))


def check_terms(recipe: Recipe, where: str = "") -> None:
    """Check the settings of the terms. This imports PyTorch, but not the networks, whose import takes longer.

    Raises:
        UserError: At the first mistake. The message begins with ``where``.
    """
    from segdistill.distillation.build import check_terms as check

    try:
        check(recipe.term_settings)
    except UserError as error:
        raise UserError(f"{where}{error}") from None


def check_run_folder(folder: Path) -> None:
    """Check that a folder holds a trained student.

    Raises:
        UserError: If the folder has no student.json.
    """
    if not (folder / "student.json").exists():
        raise UserError(f"{folder} is not a run's folder with a trained student: it has no student.json")


def default_folder(recipe: Recipe) -> Path:
    """Return the default folder of a run."""
    return in_runs(f"{recipe.name}-{recipe.method}-s{recipe.seed}")


def in_runs(name: str) -> Path:
    """Return a folder in ``runs/``. The name is sanitized, so that ``../x`` does not lead out of it."""
    return Path("runs") / re.sub(r'[/\\:*?"<>|\x00-\x1f\x7f]', "_", name).lstrip(".")


def _check_code(source: str | Path, recipe: Recipe, changes: Sequence[str]) -> None:
    """Raise a UserError if a recipe in a run's folder names code to import. Other recipes and changes may name code."""
    marks = ("environment.json", "student.json")
    of_runs = [file for file in files_of(source) if any((file.parent / mark).exists() for mark in marks)]
    if not of_runs:
        return
    given = {change.partition("=")[2] for change in changes}
    if code := [name for name in named_code(recipe) if name not in given]:
        raise UserError(
            f"{of_runs[0]} is in a run's folder and names code to import, '{', '.join(code)}'; if you trust it, give "
            "--trust"
        )
