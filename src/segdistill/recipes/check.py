"""Check of a recipe's keys and values. One message lists all problems."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from segdistill.errors import UserError, nearest
from segdistill.recipes.keys import key_names
from segdistill.recipes.schema import Recipe


def checked(draft: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a draft.

    Raises:
        UserError: If a key is unknown or missing, or a value has the wrong type.
    """
    try:
        return Recipe.model_validate(draft)
    except ValidationError as error:
        problems = [_problem(dict(each)) for each in error.errors(include_url=False)]
        raise UserError("; ".join(dict.fromkeys(problems))) from None


def _problem(error: Mapping[str, Any]) -> str:
    key = ".".join(part for part in error["loc"] if isinstance(part, str))
    if error["type"] == "extra_forbidden":
        near = nearest(key, key_names())
        return f"unknown key '{key}'" + (f"; did you mean '{near}'?" if near else "")
    if error["type"] == "missing" and isinstance(error["loc"][-1], int):  # an item of a list
        return f"{key}: expected a list of at least {error['loc'][-1] + 1}, got {_short(error.get('input'))}"
    if error["type"] == "missing":
        return f"the recipe has no '{key}'"
    if error["type"] == "value_error":  # raised by the schema's validators, which name the value
        return f"{key}: {error['ctx']['error']}"
    if error["type"] == "tuple_type":
        return f"{key}: expected a list, as in {key}=[1,2], got {_short(error.get('input'))}"
    if error["type"] in ("too_short", "too_long"):
        bound = "at least" if error["type"] == "too_short" else "at most"
        count = error["ctx"].get("min_length", error["ctx"].get("max_length"))
        return f"{key}: expected a list of {bound} {count}, got {_short(error.get('input'))}"
    return f"{key}: {error['msg'][:1].lower()}{error['msg'][1:]}, got {_short(error.get('input'))}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
