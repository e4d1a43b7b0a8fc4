"""Keys of a recipe: the type, default and description of each, from the schema and the cards of the losses."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from segdistill.catalogue.cards import BY_NAME
from segdistill.errors import unknown
from segdistill.recipes.schema import Recipe, TermRecipe


@dataclass(frozen=True)
class Key:
    """One key of a recipe.

    Attributes:
        name: The full name, as in ``train.precision``.
        type: The type of the value, in words.
        default: The default, as written in YAML; empty for a required key.
        description: What the key does.
    """

    name: str
    type: str
    default: str
    description: str


def describe(name: str) -> list[Key]:
    """Return the key of this name, or all keys of a section such as ``train``.

    ``terms.NAME.KEY`` is a key of any term, or a hyperparameter of the loss NAME.

    Raises:
        UserError: If there is no such key. The message names the nearest one.
    """
    section, _, rest = name.partition(".")
    known = list(_below(Recipe))
    if section == "terms" and rest:
        term, _, key = rest.partition(".")
        known = list(_of_term(term))
        matches = [each for each in known if not key or each.name == name]
    else:
        matches = [each for each in known if each.name == name or each.name.startswith(f"{name}.")]
    if not matches:
        raise unknown("key", name, [each.name for each in known])
    return matches


def key_names() -> list[str]:
    """Return the full names of all keys and sections of a recipe."""
    keys = [key.name for key in _below(Recipe)]
    sections = {name.rpartition(".")[0] for name in keys} - {""}
    return [*keys, *sections]


def _below(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    for name, field in model.model_fields.items():
        # Terms have the keys of their losses, see _of_term. A teacher's members are teachers: do not recurse.
        inner = [each for each in _models(field.annotation) if each not in (model, TermRecipe)]
        if inner:
            yield from _below(inner[0], f"{prefix}{name}.")
        else:
            yield _key(prefix + name, field)


def _of_term(term: str) -> Iterator[Key]:
    card = BY_NAME.get("cross_entropy" if term == "task" else term)
    defaults: dict[str, Any] = {} if card is None else {"loss": card.name, "on": card.on, "weight": card.weight}
    if card is not None and card.labels == "required":
        defaults["labels"] = "valid"
    for name, field in TermRecipe.model_fields.items():
        key = _key(f"terms.{term}.{name}", field)
        yield replace(key, default=_yaml(defaults[name])) if name in defaults else key
    if card is not None:
        for name, default in card.hyperparameters.items():
            text = "from the networks" if default is None else _yaml(default)
            kind = "" if default is None else type(default).__name__
            yield Key(f"terms.{term}.{name}", _NAMES.get(kind, kind), text, f"hyperparameter of the loss {card.name}")


def _key(name: str, field: FieldInfo) -> Key:
    default = "" if field.is_required() else _yaml(field.get_default(call_default_factory=True))
    return Key(name, _type(field.annotation), default, field.description or "")


_NAMES = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "NoneType": "null"}


def _type(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(args[0])
    if origin is Literal:
        return " or ".join(map(str, args))
    if origin in (Union, UnionType):
        parts = dict.fromkeys(_type(arg) for arg in args if arg is not NoneType)
        return " or ".join([*parts, *(["null"] if NoneType in args else [])])
    if origin is tuple:
        return "list" if args[-1] is Ellipsis else f"list of {len(args)}"
    if origin in (list, dict):
        return "list" if origin is list else "keys"
    name = getattr(annotation, "__name__", str(annotation))
    return "keys" if _models(annotation) else _NAMES.get(name, name)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_yaml, value))}]"
    return "{}" if value == {} else str(value) if value != "" else '""'
