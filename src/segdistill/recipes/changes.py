"""Changes to a recipe, ``key=value`` with a path such as ``train.iterations`` as the key."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from segdistill.errors import UserError
from segdistill.recipes.length import trained
from segdistill.recipes.sources import KEYS_OF_A_MODEL, Draft
from segdistill.recipes.yaml import YAMLError, read


class Change(NamedTuple):
    """Value of one key of a recipe."""

    path: tuple[str, ...]
    value: Any

    @property
    def is_of_terms(self) -> bool:
        """Whether the key is in the section ``terms``."""
        return self.path[0] == "terms"


def parse(changes: Sequence[str]) -> list[Change]:
    """Return ``key=value`` texts as changes, in the order in which they apply.

    Models come first: a new model drops the keys of the old one, but not those that are given with it.

    Raises:
        UserError: If a text is not of the form ``key=value``, or the value is not YAML.
    """
    return sorted((_parse(change) for change in changes), key=lambda change: change.path[-1] != "model")


def set_value(draft: Draft, path: Sequence[str], value: Any) -> None:
    """Set the value at ``path`` in a draft, in place. Another model drops the keys of the old one.

    The sections on the path are copied first, because drafts share them.

    Raises:
        UserError: If a part of the path holds a value instead of keys.
    """
    *parents, last = path
    node = draft
    for parent in parents:
        child = node.get(parent)
        if child is not None and not isinstance(child, dict):
            raise UserError(f"'{'.'.join(path)}': '{parent}' holds {child!r}, not keys")
        copied = dict(child or {})
        node[parent] = copied
        node = copied
    if last == "model":
        for key in KEYS_OF_A_MODEL:
            node.pop(key, None)
    node[last] = value


def drop_lengths(draft: Draft, changes: Sequence[Change]) -> None:
    """Drop iterations from a draft if the changes give epochs, and the reverse. Giving both stays an error."""
    for path, value in dict(changes).items():
        *parents, last = path
        node: Any = draft
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if parents and parents[-1] == "train" and isinstance(node, dict):
            set_value(draft, parents, {key: node[key] for key in trained(node, {last: value}) if key in node})


def _parse(change: str) -> Change:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise UserError(f"'{change}' is not a change to the recipe; write key=value, as in train.iterations=500")
    try:
        value = read(text)
    except YAMLError:
        raise UserError(f"'{change}': the value is not YAML") from None
    if pair := _pair_without_space(value):
        raise UserError(f"'{change}': write a space after the colon of '{pair}', as YAML needs it in {{key: value}}")
    return Change(tuple(key.split(".")), value)


def _pair_without_space(value: Any) -> str | None:
    """Return a key such as ``stride:16``, which YAML reads from ``{stride:16}``, a key without a value."""
    if isinstance(value, list):
        return next((found for each in value if (found := _pair_without_space(each))), None)
    if not isinstance(value, dict):
        return None
    for name, inner in value.items():
        if inner is None and isinstance(name, str) and ":" in name:
            return name
        if found := _pair_without_space(inner):
            return found
    return None
