"""The rows of a comparison as typed: methods with changes and names. This module does not import PyTorch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from segdistill.errors import UserError
from segdistill.recipes import Recipe
from segdistill.reports.class_table import RESERVED

ALONE = "none"

# The budget is the same for all methods. A method may change its terms and the other training settings.
BUDGET = ("train.iterations", "train.epochs", "train.batch_size", "train.budget", "train.validate_every")


@dataclass(frozen=True)
class MethodRow:
    """Row of a comparison, as requested by the user.

    Attributes:
        method: The name of the method.
        changes: Changes to the recipe for this row only, as in ``terms.kd.weight=2``.
    """

    method: str
    changes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the row in the form of ``--methods``, without a name."""
        return f"{self.method}:{','.join(self.changes)}" if self.changes else self.method

    @property
    def terms(self) -> list[str]:
        """The terms that the changes name and do not remove."""
        keys = [change.partition("=") for change in self.changes]
        return [key.split(".")[1] for key, _, value in keys if key.startswith("terms.") and value != "null"]


def parse_methods(text: str) -> dict[str, MethodRow]:
    """Return the rows by name, or by method as typed; the student alone first.

    A part between commas that has ``=`` before any ``:`` is a further change to the method before it, or names a row.

    Raises:
        UserError: If a change has no method or concerns all methods, or two rows, or a row and another column of the
            tables, have the same name.
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
                f"--methods: '{part}' belongs to no method; write METHOD:KEY=VALUE, as in gskd:terms.gskd.samples=8"
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
                    f"except {', '.join(BUDGET)}; give changes for all methods outside --methods"
                )
    _check_names(rows)
    return rows


def _check_names(rows: Mapping[str, MethodRow]) -> None:
    """Raise a UserError if a row would have the name of another column of the class table."""
    for name, row in rows.items():
        before = name.removesuffix("_std")
        if name in RESERVED or (before != name and before in rows):
            column = "the deviation of a row" if name not in RESERVED else "a column"
            raise UserError(
                f"--methods: '{name}' is the name of {column} in the tables; give the row another name, as in "
                f"my_{name}={row}"
            )


def _is_row_name(key: str) -> bool:
    return re.fullmatch(r"[\w+-]+", key) is not None and key not in Recipe.model_fields


def _split(text: str) -> list[str]:
    """Split at the commas outside brackets. Empty parts are dropped."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]
