"""What a comparison is to run: methods x seeds, a recipe each, all else equal. Nothing here imports PyTorch."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segdistill.catalogue.methods import Terms, terms_of
from segdistill.errors import UserError, nearest
from segdistill.recipes import Recipe, alone_recipe, load

ALONE = "none"

# A method may change its own terms and how they are trained, but not the budget that all methods share.
BUDGET = ("train.iterations", "train.epochs", "train.batch_size", "train.budget", "train.validate_every")


@dataclass(frozen=True)
class MethodRow:
    """A row of a comparison, as it is asked for.

    Attributes:
        method: The method's name.
        changes: What is changed in this row alone, as ``terms.kd.weight=2``.
    """

    method: str
    changes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the row as it is typed without a name."""
        return f"{self.method}:{','.join(self.changes)}" if self.changes else self.method

    @property
    def terms(self) -> list[str]:
        """The terms that the changes name, and do not take out."""
        keys = [change.partition("=") for change in self.changes]
        return [key.split(".")[1] for key, _, value in keys if key.startswith("terms.") and value != "null"]


@dataclass(frozen=True)
class PlannedRun:
    """One method with one seed.

    Attributes:
        method: The row's name, or the method as the user typed it, with its changes.
        recipe: What to run.
    """

    method: str
    recipe: Recipe

    @property
    def folder(self) -> str:
        """The run's folder beneath the comparison's: a name for every file system, without what shells expand."""
        return f"{_folder_name(self.method)}-s{self.recipe.seed}"


@dataclass(frozen=True)
class Plan:
    """A comparison.

    Attributes:
        shared: What all runs have in common, as the recipe of the student alone, with the teacher of all of them and
            the seed that this teacher is trained with.
        methods: The rows' names, or methods as typed, the student alone first.
        seeds: In the order in which they are run.
        runs: Seed by seed, so that a comparison that is stopped early still compares all methods.
        named: What rows with a name of their own are, as it would be typed without one.
    """

    shared: Recipe
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: tuple[PlannedRun, ...]
    named: Mapping[str, str] = field(default_factory=dict)


def plan(source: str | Path, changes: Sequence[str], methods: str | None, seeds: str) -> Plan:
    """Plan a comparison.

    What the recipe says of a term holds in every row whose method has it: ``terms.gskd.weight=5`` in ``gskd`` and
    ``dist+gskd``, and it makes no GSKD of ``kd``. A term that no row would have is an error. A row that names a term
    in its own changes has it, too. Terms that need no teacher are part of the student alone, and of every row.

    Args:
        source: A built-in recipe or a YAML file.
        changes: Changes to it, for all methods.
        methods: ``none,kd,gskd`` or, with changes of its own, ``gskd:terms.gskd.samples=8,terms.gskd.weight=5``, or
            with a name before it, ``mine=gskd:terms.gskd.samples=8``; the student alone (``none``) is always among
            them. None compares the recipe's own method, with whatever terms were added to it.
        seeds: ``0,1,2``.

    Raises:
        UserError: Whatever :func:`segdistill.recipes.load` refuses; a change that would make the comparison unequal;
            a term that no row has; a method without distillation terms; seeds that are none.
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


def parse_methods(text: str) -> dict[str, MethodRow]:
    """Return each row by its name, or by the method as typed; the student alone first.

    A part with ``=`` before any ``:`` is a further change to the method before it, or names a row.

    Raises:
        UserError: A change without a method, or one that concerns all methods; two rows of one name.
    """
    typed: list[list[str]] = []
    for part in _split(text):
        key = re.split("[:=]", part)[0]
        if part[len(key) : len(key) + 1] != "=" or _is_row_name(key):
            typed.append([part])
        elif typed and ":" in typed[-1][0]:
            typed[-1].append(part)
        else:
            raise UserError(
                f"--methods: '{part}' changes no method; write METHOD:KEY=VALUE, as in gskd:terms.gskd.samples=8"
            )
    rows, named = {ALONE: MethodRow(ALONE)}, set[str]()
    for parts in typed:
        name, equals, rest = parts[0].partition("=")
        if equals and _is_row_name(name):
            is_taken = name in rows or name in named
            named.add(name)
        else:
            name, rest = ",".join(parts), parts[0]
            is_taken = name in named
        if is_taken:
            raise UserError(f"--methods: there is a row '{name}' already; give '{','.join(parts)}' another name")
        method, _, first = rest.partition(":")
        rows[name] = row = MethodRow(method, (first, *parts[1:]) if first else ())
        for change in row.changes:
            key = change.partition("=")[0]
            if not key.startswith(("terms.", "train.")) or key in BUDGET:
                raise UserError(
                    f"--methods: '{change}' would make the comparison unequal; a method changes terms.* or train.* "
                    f"except {', '.join(BUDGET)}, and what holds for all stands outside --methods"
                )
    return rows


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the numbers of ``0,1,2``, each once.

    Raises:
        UserError: It is no list of whole numbers.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise UserError(f"--seeds: expected whole numbers joined by commas, as in 0,1,2, got '{text}'")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _recipe(source: str | Path, changes: Sequence[str], base: Recipe, label: str, row: MethodRow) -> Recipe:
    """Return a row's recipe: the base's data, networks and budget, and the row's terms."""
    kept = {*_terms(row.method, base), *row.terms}
    left_out = [f"terms.{name}=null" for name in base.distillation if name not in kept]
    try:
        recipe = load(source, [*changes, f"method={row.method}", *left_out, *row.changes])
    except UserError as error:
        raise UserError(f"method '{label}': {error}") from None
    if recipe.distils:
        return recipe.model_copy(update={"baseline": False})
    if label != ALONE:
        raise UserError(f"method '{label}' has no term left to distil with; change its terms, or leave it out")
    return alone_recipe(recipe)


def _terms(method: str, base: Recipe) -> Terms:
    return {name: term for name, term in terms_of(method, base.methods).items() if name != "task"}


def _check_every_term_has_a_row(base: Recipe, rows: Mapping[str, MethodRow]) -> None:
    """Refuse a comparison that would leave out what the user added to the recipe."""
    theirs = {name for row in rows.values() for name in (*_terms(row.method, base), *row.terms)}
    for name in base.distillation:
        if name in theirs or name in _terms(base.method, base):
            continue
        near = nearest(name, theirs)
        method = next((row.method for row in rows.values() if row.method != ALONE), "kd")
        raise UserError(
            f"--methods: no row has the term '{name}'"
            + (f" (did you mean '{near}'?)" if near else "")
            + f"; add it to one, as in {method}:terms.{name}={{}}, or give it one, as in "
            f"{name if name not in rows else f'{name}_alone'}={ALONE}:terms.{name}={{}}"
        )


def _is_row_name(key: str) -> bool:
    return re.fullmatch(r"[\w+-]+", key) is not None and key not in Recipe.model_fields


def _split(text: str) -> list[str]:
    """Split at the commas that stand in no bracket; nothing is no part."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _folder_name(method: str) -> str:
    return re.sub(r"[^A-Za-z0-9.,+=_-]", "_", method)


def _check_folder_names(methods: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for method in methods:
        other = seen.setdefault(_folder_name(method).lower(), method)
        if other != method:
            raise UserError(f"--methods: '{other}' and '{method}' would share a folder; write one of them differently")
