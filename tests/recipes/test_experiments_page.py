"""docs/experiments.md: every experiment is there, and what it lists as ours is what the recipes set."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from segdistill.recipes import ROWS, Recipe, load
from segdistill.recipes.experiments import EXPERIMENTS
from segdistill.recipes.yaml import read

PAGE = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
NAMES = {experiment.__name__ for experiment in EXPERIMENTS}


def rows() -> Iterator[tuple[list[str], str, str, str]]:
    """Yield the recipes, method, key and value of each row whose key and value are given as code."""
    for section in PAGE.split("\n## ")[1:]:
        (listed,) = re.findall(r"^Recipes: (.*)$", section, re.MULTILINE)
        recipes = re.findall(r"`(\w+)`", listed)
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            if len(cells) == 5 and cells[0].startswith("`") and cells[1].startswith("`"):
                method, key, value = (cell.strip("` ") for cell in (cells[0], cells[1], cells[3]))
                yield recipes, method, key, value


@cache
def recipe_of(name: str, method: str) -> Recipe:
    """Return the recipe of a method, with the changes of its row in the paper's main table."""
    changes = [row.changes for row in ROWS if (row.experiment, row.method) == (name, method)]
    return load(name, [f"method={method}", *min(changes, key=len, default=())])


def value_of(recipe: Recipe, key: str) -> Any:
    value: Any = recipe.model_dump(mode="json")
    for part in key.split("."):
        value = value[part]
    return value


def test_every_experiment_is_on_the_page() -> None:
    assert {name for recipes, *_ in rows() for name in recipes} == NAMES


@pytest.mark.parametrize(
    ("recipes", "method", "key", "value"), [*rows()], ids=lambda x: x if isinstance(x, str) else x[0]
)
def test_ours_is_what_the_recipe_sets(recipes: list[str], method: str, key: str, value: str) -> None:
    reported = [name for name in recipes if any((row.experiment, row.method) == (name, method) for row in ROWS)]
    for name in reported or recipes:  # ADE20K has no row of DIST
        assert value_of(recipe_of(name, method), key) == read(value), name


def test_every_row_has_five_cells() -> None:
    for section in PAGE.split("\n## ")[1:]:
        tables = [line for line in section.splitlines() if line.startswith("|")]
        assert all(line.count(" | ") == 4 for line in tables if not line.startswith("|--"))
