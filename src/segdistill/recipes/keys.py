"""What a recipe's keys are: type, default and description of each, read off the schema and the losses' cards."""

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
        name: With all that stands before it, as in ``train.precision``.
        type: What it takes, in words.
        default: As it is written in YAML; empty where it must be given.
        description: What it does.
    """

    name: str
    type: str
    default: str
    description: str


def describe(name: str) -> list[Key]:
    """Return a key; of a section, such as ``train``, all keys below it.

    ``terms.NAME.KEY`` is a key of any term, or a hyper-parameter of the loss NAME.

    Raises:
        UserError: There is no such key; the nearest one is named.
    """
    section, _, rest = name.partition(".")
    known = list(_below(Recipe))
    if section == "terms" and rest:
        term, _, key = rest.partition(".")
        known = list(_of_term(term))
        found = [each for each in known if not key or each.name == name]
    else:
        found = [each for each in known if each.name == name or each.name.startswith(f"{name}.")]
    if not found:
        raise unknown("key", name, [each.name for each in known])
    return found


def key_names() -> list[str]:
    """Return every key of a recipe and every section, with all that stands before it."""
    keys = [key.name for key in _below(Recipe)]
    sections = {name.rpartition(".")[0] for name in keys} - {""}
    return [*keys, *sections]


def _below(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    for name, field in model.model_fields.items():
        # The keys of terms are open, and a teacher's members are teachers.
        inner = [each for each in _models(field.annotation) if each not in (model, TermRecipe)]
        if inner:
            yield from _below(inner[0], f"{prefix}{name}.")
        else:
            yield _key(prefix + name, field)


def _of_term(term: str) -> Iterator[Key]:
    card = BY_NAME.get("cross_entropy" if term == "task" else term)
    own: dict[str, Any] = {} if card is None else {"loss": card.name, "on": card.on, "weight": card.weight}
    if card is not None and card.labels == "required":
        own["labels"] = "valid"
    for name, field in TermRecipe.model_fields.items():
        key = _key(f"terms.{term}.{name}", field)
        yield replace(key, default=_yaml(own[name])) if name in own else key
    if card is not None:
        for name, default in card.hyperparameters.items():
            shown = "the networks' own" if default is None else _yaml(default)
            kind = "" if default is None else type(default).__name__
            yield Key(f"terms.{term}.{name}", _NAMES.get(kind, kind), shown, f"hyper-parameter of the loss {card.name}")


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
