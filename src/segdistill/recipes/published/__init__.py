"""Published results: every row of the papers' result tables, with the recipe and method that it belongs to."""

from collections.abc import Sequence
from typing import Any

from segdistill.recipes.load import load
from segdistill.recipes.published.aicsd import ROWS as AICSD
from segdistill.recipes.published.gskd import ROWS as GSKD
from segdistill.recipes.published.i2ckd import ROWS as I2CKD
from segdistill.recipes.published.row import Row
from segdistill.recipes.schema import Recipe

__all__ = ["ROWS", "Row", "published_rows", "rows_of", "tables", "teacher_rows"]

ROWS: tuple[Row, ...] = (*GSKD, *AICSD, *I2CKD)


def published_rows(recipe: str, method: str, changes: Sequence[str] = ()) -> list[Row]:
    """Return the rows of a built-in recipe and method with ``changes``; see :func:`rows_of`.

    Args:
        recipe: The name of a recipe. There are no rows for one that is not built in.
        method: The name of a method, or "teacher".
        changes: Changes to the recipe, as for :func:`segdistill.recipes.load`.

    Raises:
        UserError: As :func:`segdistill.recipes.load`.
    """
    if not any((row.experiment, row.method) == (recipe, method) for row in ROWS):
        return []
    if method == "teacher":
        return teacher_rows(load(recipe, changes))
    return rows_of(load(recipe, [f"method={method}", *changes]))


def rows_of(recipe: Recipe) -> list[Row]:
    """Return the rows with the recipe's experiment and method, and the same terms, networks and data set.

    The training settings are not compared, so that a short run is still shown next to the published result.
    """
    rows = [row for row in ROWS if (row.experiment, row.method) == (recipe.experiment, recipe.method)]
    return [row for row in rows if _subject(_recipe_of(row)) == _subject(recipe)]


def teacher_rows(recipe: Recipe) -> list[Row]:
    """Return the rows of a recipe's teacher, if it is the paper's network on the paper's data set."""
    rows = [row for row in ROWS if (row.experiment, row.method) == (recipe.experiment, "teacher")]
    return [row for row in rows if _teacher(load(row.experiment, row.changes)) == _teacher(recipe)]


def tables(recipe: str) -> str:
    """Return the tables in which a recipe's rows are printed, as in ``GSKD 1, 4``."""
    by_paper: dict[str, dict[str, None]] = {}
    for row in ROWS:
        if row.experiment == recipe:
            by_paper.setdefault(row.paper, {})[row.table] = None
    return "; ".join(f"{paper} {', '.join(numbers)}" for paper, numbers in by_paper.items())


def _recipe_of(row: Row) -> Recipe:
    return load(row.experiment, [f"method={row.method}", *row.changes])


def _subject(recipe: Recipe) -> tuple[Any, ...]:
    """Return the terms, networks and data set of a recipe, by which rows are matched."""
    student = recipe.student.model, recipe.student.options
    return recipe.terms, student, recipe.data.name, recipe.distils and _teacher(recipe)


def _teacher(recipe: Recipe) -> tuple[Any, ...]:
    return recipe.data.name, recipe.teacher and (recipe.teacher.model, recipe.teacher.options)
