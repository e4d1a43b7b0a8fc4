"""Search space of a sweep: ranges and choices for keys of a recipe. This module does not import PyTorch or Optuna."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.comparison.method_rows import BUDGET
from segdistill.errors import UserError, nearest
from segdistill.recipes import Recipe, load

Value = int | float | str

_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(:log)?")


@dataclass(frozen=True)
class Dimension:
    """Dimension of a search space: a key with a range or with choices.

    Attributes:
        key: The key of the recipe.
        low, high: The ends of a range, both included.
        log: True if the range is searched on a logarithmic scale.
        whole: True if the range contains whole numbers only.
        choices: The choices as typed; empty for a range.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[str, ...] = ()

    @property
    def ends(self) -> tuple[Value, Value]:
        """The first and last values."""
        if self.choices:
            return self.choices[0], self.choices[-1]
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    @property
    def count(self) -> int | None:
        """The number of values; None if they are not whole numbers."""
        if self.choices:
            return len(self.choices)
        return int(self.high) - int(self.low) + 1 if self.whole else None


@dataclass(frozen=True)
class Search:
    """Search over keys of a recipe.

    Attributes:
        source: A built-in recipe or a YAML file.
        changes: Changes to it, for every trial.
        dimensions: The dimensions of the search space.
        base: The recipe without values of the dimensions.
    """

    source: str | Path
    changes: tuple[str, ...]
    dimensions: tuple[Dimension, ...]
    base: Recipe

    @property
    def ends(self) -> tuple[Recipe, Recipe]:
        """The recipes with all keys at their first values and at their last values."""
        first, last = (self.recipe({each.key: each.ends[end] for each in self.dimensions}) for end in (0, 1))
        return first, last

    @property
    def combinations(self) -> int | None:
        """The number of combinations of values; None if a value may be any number of a range."""
        counts = [each.count for each in self.dimensions]
        known = [count for count in counts if count is not None]
        return math.prod(known) if len(known) == len(counts) else None

    @property
    def code(self) -> list[str]:
        """Own networks and losses among the choices."""
        of_code = [each for each in self.dimensions if each.key.endswith((".loss", ".model"))]
        return [choice for each in of_code for choice in each.choices if ":" in choice]

    def recipe(self, values: Mapping[str, Value]) -> Recipe:
        """Return the recipe of a trial with these values.

        Raises:
            UserError: See :func:`segdistill.recipes.load`.
        """
        recipe = load(self.source, [*self.changes, *(f"{key}={value}" for key, value in values.items())])
        return recipe.model_copy(update={"baseline": False})


def search(source: str | Path, changes: Sequence[str], dimensions: Sequence[str]) -> Search:
    """Return the search of a sweep.

    Args:
        source: A built-in recipe or a YAML file.
        changes: Changes to it.
        dimensions: Dimensions as text: ``terms.kd.weight=0.1..10:log``, ``terms.gskd.samples=4..32`` (whole numbers,
            because the recipe's value is one) or ``terms.gskd.stride=8,16,classes``.

    Raises:
        UserError: If a text is not a dimension, a key would make the trials unequal, or the recipe rejects a key at the
            ends of its range.
    """
    base = load(source, changes).model_copy(update={"baseline": False})
    parsed = tuple(_dimension(text, base) for text in dimensions)
    keys = [dimension.key for dimension in parsed]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise UserError(f"--set: '{twice[0]}' is set twice")
    searched = Search(source, tuple(changes), parsed, base)
    _ = searched.ends  # raises if the recipe rejects a value
    return searched


def _dimension(text: str, base: Recipe) -> Dimension:
    key, equals, values = text.partition("=")
    if not equals or not key or not values:
        raise UserError(f"--set: expected KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C, got '{text}'")
    if key in (*BUDGET, "seed", "method") or key.startswith("teacher."):
        raise UserError(f"--set: '{key}' must be the same for all trials, so that their scores can be compared")
    section, _, term = key.partition(".")
    name = term.partition(".")[0]
    if section == "terms" and name not in base.terms:
        near = nearest(name, base.terms)
        remedy = f"did you mean '{near}'?" if near else f"add it for all trials with terms.{name}={{}}"
        raise UserError(f"--set: method '{base.label}' has no term '{name}'; {remedy}")
    parts = _RANGE.fullmatch(values)
    if parts is None:
        choices = tuple(dict.fromkeys(part.strip() for part in values.split(",") if part.strip()))
        if len(choices) < 2 or ".." in values:
            raise UserError(f"--set: '{text}' has nothing to choose from; write LOW..HIGH, LOW..HIGH:log or A,B,C")
        return Dimension(key, choices=choices)
    low, high, log = float(parts[1]), float(parts[2]), parts[3] is not None
    if not low < high or (log and low <= 0):
        raise UserError(f"--set: '{text}' is not a range; write the lower end first{', above 0' if log else ''}")
    # A weight in 1..10 may be 2.5; a number of samples may not.
    whole = type(_value(base.model_dump(), key)) is int and low.is_integer() and high.is_integer()
    return Dimension(key, low, high, log, whole)


def _value(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node
