"""Plan of a comparison: one recipe for each method and seed, equal in all else. This module does not import PyTorch."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segdistill.catalogue.methods import Terms, terms_of
from segdistill.comparison.method_rows import ALONE, MethodRow, parse_methods
from segdistill.errors import UserError, nearest
from segdistill.recipes import Recipe, alone_recipe, load


@dataclass(frozen=True)
class PlannedRun:
    """Run of one method with one seed.

    Attributes:
        method: The row's name, or the method with its changes as typed.
        recipe: The recipe of the run.
    """

    method: str
    recipe: Recipe

    @property
    def label(self) -> str:
        """The name of the run in printed lines."""
        return f"{self.method} seed {self.recipe.seed}"

    @property
    def folder(self) -> str:
        """The name of the run's subfolder, with only characters that file systems and shells take as they are."""
        return f"{_folder_name(self.method)}-s{self.recipe.seed}"


@dataclass(frozen=True)
class Plan:
    """Plan of a comparison.

    Attributes:
        shared: The recipe of the student alone, with the teacher of all runs and the seed with which it is trained.
        methods: The rows by name, or by method as typed; the student alone first.
        seeds: The seeds, in the order in which they are run.
        runs: The runs, seed by seed, so that a comparison that is stopped early still compares all methods.
        named: For each row with a name, its method and changes in the form of ``--methods``.
    """

    shared: Recipe
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: tuple[PlannedRun, ...]
    named: Mapping[str, str] = field(default_factory=dict)


def plan(source: str | Path, changes: Sequence[str], methods: str | None, seeds: str) -> Plan:
    """Return the plan of a comparison.

    The recipe's settings of a term apply to every row whose method has the term: ``terms.gskd.weight=5`` applies to
    ``gskd`` and ``dist+gskd``, and does not add the term to ``kd``. A term that no row has is an error. A row also has
    the terms that its own changes name. Terms that need no teacher are part of every row, and of the student alone.

    Args:
        source: A built-in recipe or a YAML file.
        changes: Changes to it, for all methods.
        methods: Methods joined by commas, as in ``none,kd,gskd``. A method may have changes, as in
            ``gskd:terms.gskd.samples=8,terms.gskd.weight=5``, and a name, as in ``mine=gskd:terms.gskd.samples=8``. The
            student alone (``none``) is always added; ``low=none:train.learning_rate=0.01`` is a second one. None
            compares the recipe's method, with the terms added to it.
        seeds: Whole numbers joined by commas, as in ``0,1,2``.

    Raises:
        UserError: As :func:`segdistill.recipes.load`; or if a change would make the comparison unequal, no row has a
            term, a method has no distillation terms, or the seeds are not whole numbers.
    """
    base = load(source, changes)
    numbers = parse_seeds(seeds)
    if methods is None:
        added = [f"terms.{name}={{}}" for name in base.distillation if name not in _terms(base.method, base)]
        rows = {ALONE: MethodRow(ALONE), base.label: MethodRow(base.method, tuple(added))}
    else:
        rows = parse_methods(methods)
        _check_every_term_has_a_row(base, rows)
    recipes = {label: _recipe(source, changes, base, label, row) for label, row in rows.items()}
    _check_folder_names(list(recipes))
    shared = recipes[ALONE].model_copy(update={"teacher": base.teacher, "seed": numbers[0]})
    runs = [
        PlannedRun(label, recipe.model_copy(update={"seed": seed}))
        for seed in numbers
        for label, recipe in recipes.items()
    ]
    named = {name: str(row) for name, row in rows.items() if methods is not None and name != str(row)}
    return Plan(shared, tuple(recipes), numbers, tuple(runs), named)


def first_runs(runs: Iterable[PlannedRun]) -> dict[str, PlannedRun]:
    """Return the first of these runs of each method."""
    firsts: dict[str, PlannedRun] = {}
    for run in runs:
        firsts.setdefault(run.method, run)
    return firsts


def repeated_rows(plan: Plan) -> list[str]:
    """Return a line for each row with the same settings as a row before it: their difference is noise."""
    lines, before = [], dict[str, str]()
    for name, run in first_runs(plan.runs).items():
        other = before.setdefault(run.recipe.model_dump_json(exclude={"method"}), name)
        if other != name:
            lines.append(f"the rows {other} and {name} have the same settings, so their difference is noise")
    return lines


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the numbers of a text such as ``0,1,2``, each once.

    Raises:
        UserError: If the text is not a list of whole numbers.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise UserError(f"--seeds: expected whole numbers joined by commas, as in 0,1,2, got '{text}'")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _recipe(source: str | Path, changes: Sequence[str], base: Recipe, label: str, row: MethodRow) -> Recipe:
    """Return a row's recipe: data, networks and budget of the base recipe, and the terms of the row."""
    terms = {*_terms(row.method, base), *row.terms}
    removed = [f"terms.{name}=null" for name in base.distillation if name not in terms]
    try:
        recipe = load(source, [*changes, f"method={row.method}", *removed, *row.changes])
    except UserError as error:
        raise UserError(f"method '{label}': {error}") from None
    if recipe.distils:
        return recipe.model_copy(update={"baseline": False})
    if row.method != ALONE:
        raise UserError(f"method '{label}' has no distillation term left; change its terms, or leave it out")
    return alone_recipe(recipe)


def _terms(method: str, base: Recipe) -> Terms:
    return {name: term for name, term in terms_of(method, base.methods).items() if name != "task"}


def _check_every_term_has_a_row(base: Recipe, rows: Mapping[str, MethodRow]) -> None:
    """Raise a UserError if no row has a term that the user added to the recipe."""
    in_rows = {name for row in rows.values() for name in (*_terms(row.method, base), *row.terms)}
    for name in base.distillation:
        if name in in_rows or name in _terms(base.method, base):
            continue
        near = nearest(name, in_rows)
        method = next((row.method for row in rows.values() if row.method != ALONE), "kd")
        raise UserError(
            f"--methods: no row has the term '{name}'"
            + (f" (did you mean '{near}'?)" if near else "")
            + f"; add it to a row, as in {method}:terms.{name}={{}}, or give it a row, as in "
            f"{name if name not in rows else f'{name}_alone'}={ALONE}:terms.{name}={{}}"
        )


def _folder_name(method: str) -> str:
    return re.sub(r"[^A-Za-z0-9.,+=_@-]", "_", method)


def _check_folder_names(methods: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for method in methods:
        other = seen.setdefault(_folder_name(method).lower(), method)
        if other != method:
            raise UserError(f"--methods: '{other}' and '{method}' would share a folder; write one of them differently")
