"""From a name or a YAML file and ``key=value`` changes to a checked Recipe."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from segdistill.catalogue import card_of
from segdistill.errors import UserError, unknown
from segdistill.recipes.builtin import BUILTIN
from segdistill.recipes.methods import terms_of
from segdistill.recipes.schema import Recipe, TermRecipe
from segdistill.recipes.yaml import YAMLError, read, write


def load(source: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a built-in's name or a YAML file, with ``changes`` such as ``train.iterations=500``.

    A YAML file holds a recipe, or only what differs from another one named in its key ``recipe``.

    Raises:
        UserError: Unknown recipe, unreadable file, unknown key or method or loss (the nearest is named), or a value
            of the wrong form; all problems in one message.
    """
    draft = _draft(source)
    edits = [_parse(change) for change in changes]
    for path, value in edits:
        if path[0] != "terms":
            _set(draft, path, value)
    own = draft.get("terms") or {}
    draft["terms"] = _terms(draft.get("method", "gskd"), own if isinstance(own, dict) else {"": own})
    for path, value in edits:
        if path[0] == "terms":
            _set(draft, path, value)
    draft["terms"] = {name: _with_defaults(name, term) for name, term in draft["terms"].items() if term is not None}
    _inherit_training(draft)
    return _checked(draft)


def to_yaml(recipe: Recipe) -> str:
    """Return a recipe as YAML that :func:`load` reads back: every value that is used."""
    return write(recipe.model_dump(mode="json"))


def _draft(source: str | Path) -> dict[str, Any]:
    name = str(source)
    if name in BUILTIN:
        return {"name": name, "description": (BUILTIN[name].__doc__ or "").strip(), **BUILTIN[name]()}
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        raise unknown("recipe", name, BUILTIN, hint="(or give a YAML file)")
    if not path.is_file():
        raise UserError(f"no such recipe file: {path}; `segdistill recipes quickstart` prints one to start from")
    try:
        content = read(path.read_text())
    except (YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1})" if place else ""
        raise UserError(f"{path} is not YAML{where}: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a recipe: expected keys such as data, student, teacher, train")
    base = content.pop("recipe", None)
    if base is None:
        return {"name": path.stem, **content}
    merged = _draft(str(base) if str(base) in BUILTIN else path.parent / str(base))
    return _merge({**merged, "name": path.stem}, content)


def _merge(base: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _parse(change: str) -> tuple[list[str], Any]:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise UserError(f"'{change}' is not a change to the recipe; write key=value, as in train.iterations=500")
    try:
        return key.split("."), read(text)
    except YAMLError:
        raise UserError(f"'{change}': the value is not YAML") from None


def _set(draft: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, last = path
    node = draft
    for parent in parents:
        child = node.get(parent)
        if child is not None and not isinstance(child, dict):
            raise UserError(f"'{'.'.join(path)}': '{parent}' holds {child!r}, not keys")
        node[parent] = node = dict(child or {})
    node[last] = value


def _terms(method: Any, own: dict[str, Any]) -> dict[str, Any]:
    """Return the method's terms with the recipe's own changes on top; a null takes a term out."""
    return _merge(terms_of(str(method)), own)


def _with_defaults(name: str, term: Any) -> Any:
    """Fill in what the loss's card knows: the loss itself where the term has its name, the feature, the labels."""
    if not isinstance(term, dict):
        return term
    loss = term.get("loss", name)
    if ":" in str(loss):
        return {"on": "logits", **term, "loss": loss}
    card = card_of(str(loss))
    extra = set(term) - set(TermRecipe.model_fields) - set(card.hyperparameters)
    for key in sorted(extra):
        raise unknown(f"key 'terms.{name}.' of loss {loss}:", key, [*TermRecipe.model_fields, *card.hyperparameters])
    labels = {"labels": "valid"} if card.labels == "required" else {}
    return {"on": card.on, "weight": card.weight, **labels, **term, "loss": loss}


def _inherit_training(draft: dict[str, Any]) -> None:
    """Give the teacher's training the student's settings where it has none of its own."""
    teacher, train = draft.get("teacher"), draft.get("train")
    if isinstance(teacher, dict) and isinstance(teacher.get("train"), dict) and isinstance(train, dict):
        draft["teacher"] = {**teacher, "train": {**train, **teacher["train"]}}


def _checked(draft: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(draft)
    except ValidationError as error:
        problems = [_problem(draft, dict(each)) for each in error.errors(include_url=False)]
        raise UserError("; ".join(dict.fromkeys(problems))) from None


def _problem(draft: dict[str, Any], error: dict[str, Any]) -> str:
    location = [part for part in error["loc"] if isinstance(part, str)]
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        near = get_close_matches(key, _keys(Recipe), n=1, cutoff=0.5)
        return f"unknown key '{key}'" + (f"; did you mean '{near[0]}'?" if near else "")
    if error["type"] == "missing":
        return f"the recipe has no '{key}'"
    return f"{key}: {error['msg'][:1].lower()}{error['msg'][1:]}, got {_short(error.get('input'))}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """List every dotted key of the schema."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for inner in _models_in(field.annotation):
            if inner is not TermRecipe:
                keys += _keys(inner, f"{prefix}{name}.")
    return keys


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]
