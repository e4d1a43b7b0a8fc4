"""What a comparison is to run: methods x seeds, a recipe each, all else equal. Nothing here imports PyTorch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segdistill.errors import UserError
from segdistill.recipes import Recipe, load
from segdistill.recipes.methods import terms_of

ALONE = "none"

# A method may change its own terms and how they are trained, but not the budget that all methods share.
BUDGET = ("train.iterations", "train.batch_size", "train.budget", "train.validate_every")


@dataclass(frozen=True)
class PlannedRun:
    """One method with one seed.

    Attributes:
        method: The method as the user typed it, with its changes.
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
        methods: The methods as typed, the student alone first.
        seeds: In the order in which they are run.
        runs: Seed by seed, so that a comparison that is stopped early still compares all methods.
    """

    shared: Recipe
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: tuple[PlannedRun, ...]


def plan(source: str | Path, changes: Sequence[str], methods: str | None, seeds: str) -> Plan:
    """Plan a comparison.

    The terms of the recipe itself belong to its own method; another method takes from them what it has too, so that
    ``terms.gskd.weight=5`` holds in ``gskd`` and ``dist+gskd`` and makes no GSKD of ``kd``.

    Args:
        source: A built-in recipe or a YAML file.
        changes: Changes to it, for all methods.
        methods: ``none,kd,gskd`` or, with changes of its own, ``gskd:terms.gskd.samples=8,terms.gskd.weight=5``; the
            student alone (``none``) is always among them. None compares the recipe's own method with it.
        seeds: ``0,1,2``.

    Raises:
        UserError: Whatever :func:`segdistill.recipes.load` refuses; a change that would make the comparison unequal;
            a method without distillation terms; seeds that are none.
    """
    base = load(source, changes)
    named = parse_methods(base.method if methods is None else methods)
    numbers = parse_seeds(seeds)
    recipes = {label: _recipe(source, changes, base, label, own) for label, own in named.items()}
    _check_folder_names(list(recipes))
    shared = recipes[ALONE].model_copy(update={"teacher": base.teacher, "seed": numbers[0]})
    runs = [
        PlannedRun(label, recipe.model_copy(update={"seed": seed}))
        for seed in numbers
        for label, recipe in recipes.items()
    ]
    return Plan(shared, tuple(recipes), numbers, tuple(runs))


def parse_methods(text: str) -> dict[str, list[str]]:
    """Return the changes of each method by the method as typed, the student alone first.

    A part with ``=`` before any ``:`` is a further change to the method before it.

    Raises:
        UserError: A change without a method, or one that concerns all methods.
    """
    typed: list[list[str]] = []
    for part in _split(text):
        name = re.split("[:=]", part)[0]
        if part[len(name) : len(name) + 1] != "=":
            typed.append([part])
        elif typed and ":" in typed[-1][0]:
            typed[-1].append(part)
        else:
            raise UserError(
                f"--methods: '{part}' changes no method; write METHOD:KEY=VALUE, as in gskd:terms.gskd.samples=8"
            )
    methods = {ALONE: list[str]()}
    for parts in typed:
        first = parts[0].partition(":")[2]
        methods[",".join(parts)] = changes = [first, *parts[1:]] if first else []
        for change in changes:
            key = change.partition("=")[0]
            if not key.startswith(("terms.", "train.")) or key in BUDGET:
                raise UserError(
                    f"--methods: '{change}' would make the comparison unequal; a method changes terms.* or train.* "
                    f"except {', '.join(BUDGET)}, and what holds for all stands outside --methods"
                )
    return methods


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the numbers of ``0,1,2``, each once.

    Raises:
        UserError: It is no list of whole numbers.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise UserError(f"--seeds: expected whole numbers joined by commas, as in 0,1,2, got '{text}'")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _recipe(source: str | Path, changes: Sequence[str], base: Recipe, label: str, own: Sequence[str]) -> Recipe:
    """Return a method's recipe: the base's data, networks and budget, and the method's terms."""
    name = label.partition(":")[0]
    kept = {"task", *terms_of(name, base.methods)}
    foreign = [] if name == base.method else [term for term in base.terms if term not in kept]
    left_out = [f"terms.{term}=null" for term in foreign]
    try:
        recipe = load(source, [*changes, f"method={name}", *left_out, *own])
    except UserError as error:
        raise UserError(f"method '{label}': {error}") from None
    if recipe.distils:
        return recipe.model_copy(update={"baseline": False})
    if name != ALONE:
        raise UserError(f"method '{label}' has no term left to distil with; change its terms, or leave it out")
    return recipe.model_copy(update={"baseline": False, "teacher": None})


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
