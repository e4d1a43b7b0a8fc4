"""What the papers report: every row of their tables of results, beside the recipe and method that it belongs to."""

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
    """Return the rows of a built-in recipe's method with ``changes``; see :func:`rows_of`.

    Args:
        recipe: A recipe's name; one that is not built in has no rows.
        method: A method's name, or "teacher".
        changes: As :func:`segdistill.recipes.load` takes them.

    Raises:
        UserError: Whatever :func:`segdistill.recipes.load` refuses.
    """
    if not any((row.experiment, row.method) == (recipe, method) for row in ROWS):
        return []
    if method == "teacher":
        return teacher_rows(load(recipe, changes))
    return rows_of(load(recipe, [f"method={method}", *changes]))


def rows_of(recipe: Recipe) -> list[Row]:
    """Return the rows that a recipe stands for: its experiment and method, the same terms, networks and data set.

    How it is trained has no say, so that a short run still finds what it falls short of.
    """
    rows = [row for row in ROWS if (row.experiment, row.method) == (recipe.experiment, recipe.method)]
    return [row for row in rows if _subject(_recipe_of(row)) == _subject(recipe)]


def teacher_rows(recipe: Recipe) -> list[Row]:
    """Return the rows of a recipe's teacher, where it is the printed one on the printed data set."""
    rows = [row for row in ROWS if (row.experiment, row.method) == (recipe.experiment, "teacher")]
    return [row for row in rows if _teacher(load(row.experiment, row.changes)) == _teacher(recipe)]


def tables(recipe: str) -> str:
    """Return where a recipe's rows are printed, as in ``GSKD 1, 4``."""
    places: dict[str, dict[str, None]] = {}
    for row in ROWS:
        if row.experiment == recipe:
            places.setdefault(row.paper, {})[row.table] = None
    return "; ".join(f"{paper} {', '.join(numbers)}" for paper, numbers in places.items())


def _recipe_of(row: Row) -> Recipe:
    return load(row.experiment, [f"method={row.method}", *row.changes])


def _subject(recipe: Recipe) -> tuple[Any, ...]:
    """Return what is compared how, between which networks, on which data."""
    student = recipe.student.model, recipe.student.options
    return recipe.terms, student, recipe.data.name, recipe.distils and _teacher(recipe)


def _teacher(recipe: Recipe) -> tuple[Any, ...]:
    return recipe.data.name, recipe.teacher and (recipe.teacher.model, recipe.teacher.options)
