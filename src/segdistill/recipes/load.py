"""Loading of a recipe from a name or a YAML file and ``key=value`` changes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segdistill.catalogue.methods import METHODS, Terms, terms_of, updated
from segdistill.catalogue.terms import complete
from segdistill.errors import UserError, nearest, unknown
from segdistill.recipes.builtin import BUILTIN
from segdistill.recipes.keys import key_names
from segdistill.recipes.length import in_steps, trained
from segdistill.recipes.schema import Recipe, Train
from segdistill.recipes.terms import carried
from segdistill.recipes.yaml import YAMLError, read, write

Draft = dict[str, Any]


def load(source: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a built-in name or a YAML file, with ``changes`` such as ``train.iterations=500``.

    A YAML file holds a complete recipe, or the differences from the recipe that its key ``recipe`` names.

    Raises:
        UserError: If the recipe is unknown, the file is unreadable, a key, method or loss is unknown (the message names
            the nearest), or a value has the wrong type. One message lists all problems of keys and values.
    """
    draft = _draft(source)
    edits = sorted((_parse(change) for change in changes), key=lambda edit: edit[0][-1] != "model")
    changed = dict(draft)
    _drop_lengths(changed, edits)
    for path, value in edits:
        if path[0] != "terms":
            _set(changed, path, value)
    terms = _carried_terms(draft, changed)
    draft = {**changed, "terms": {"task": {}, **_method_terms(changed)}}
    for name, term in terms.items():
        draft["terms"][name] = updated(draft["terms"].get(name), term)
    for path, value in edits:
        if path == ["terms"]:
            raise UserError("terms: change one term at a time, as in terms.kd.weight=2 or terms.kd=null")
        if path[0] == "terms" and len(path) == 2:
            if value is None and path[1] not in draft["terms"] and path[1] not in _terms_of_any(draft):
                raise unknown("term", path[1], draft["terms"])
            draft["terms"][path[1]] = updated(draft["terms"].get(path[1]), value)
        elif path[0] == "terms":
            _set(draft, path, value)
    draft["terms"] = {str(name): complete(str(name), term) for name, term in draft["terms"].items() if term is not None}
    if "task" not in draft["terms"]:
        raise UserError("terms.task cannot be removed; terms.task.weight=0 trains on the other terms alone")
    _inherit_training(draft)
    return in_steps(_checked(draft))


def files_of(source: str | Path) -> list[Path]:
    """Return the YAML files of a recipe that loads: its file, and those that the key ``recipe`` names in turn."""
    files: list[Path] = []
    while str(source) not in BUILTIN:
        files.append(Path(source))
        base = _read(files[-1]).get("recipe")
        if base is None:
            break
        source = str(base) if str(base) in BUILTIN else files[-1].parent / str(base)
    return files


def to_yaml(recipe: Recipe) -> str:
    """Return a recipe as YAML that :func:`load` reads back. All values are written, defaults too."""
    values = recipe.model_dump(mode="json")
    left_out = {name: None for name in terms_of(recipe.method, recipe.methods) if name not in recipe.terms}
    return write({**values, "terms": {**values["terms"], **left_out}})


def _draft(source: str | Path, seen: tuple[Path, ...] = ()) -> Draft:
    name = str(source)
    if name in BUILTIN:
        return {
            "name": name,
            "experiment": name,
            "description": (BUILTIN[name].__doc__ or "").strip(),
            **BUILTIN[name](),
        }
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        raise unknown("recipe", name, BUILTIN, hint="(or give a YAML file)")
    if path in seen:
        raise UserError(f"{path} is based on itself; its key 'recipe' must name another recipe")
    if not path.is_file():
        raise UserError(f"no such recipe file: {path}; `segdistill recipes quickstart` prints one to start from")
    content = _read(path)
    base = content.pop("recipe", None)
    if base is None:
        return {"name": path.stem, **content}
    below = _draft(str(base) if str(base) in BUILTIN else path.parent / str(base), (*seen, path))
    return _merge({**below, "name": path.stem}, content)


def _read(path: Path) -> Draft:
    try:
        content = read(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        reason = str(getattr(error, "problem", None) or error).splitlines()[0]
        raise UserError(f"{path} is not YAML{where}: {reason}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path} is not a recipe: expected keys such as data, student, teacher, train")
    return content


def _merge(base: Draft, change: Mapping[str, Any]) -> Draft:
    """Return the draft ``base`` updated by ``change``, key by key in each section.

    Another model drops the options and weights of the old one. Terms are updated for the changed method.
    """
    merged = {**base, "terms": _carried_terms(base, {**base, **change})}
    for key, value in change.items():
        old = merged.get(key)
        if not (isinstance(old, dict) and isinstance(value, dict)):
            merged[key] = value
        elif key == "terms":
            merged[key] = {**old, **{name: updated(old.get(name), term) for name, term in value.items()}}
        elif key in ("student", "teacher"):
            if value.get("members"):  # members replace a single teacher; only min_miou is kept
                old = {name: old[name] for name in ("min_miou", "members") if name in old}
            merged[key] = {**(_without_options(old) if "model" in value else old), **value}
        elif key == "train":
            merged[key] = trained(old, value)
        else:
            merged[key] = {**old, **value}
    return merged


def _carried_terms(draft: Draft, changed: Draft) -> Draft:
    """Return the terms of a draft that are valid under the method of ``changed``."""
    terms = draft.get("terms") or {}
    if not isinstance(terms, dict):
        raise UserError(f"terms: expected terms by name, as in {{kd: {{weight: 2}}}}, got {terms!r}")
    if not terms or _method(draft) == _method(changed):
        return terms
    return carried(terms, _method_terms(draft), _method_terms(changed))


def _method(draft: Draft) -> str:
    return str(draft.get("method", Recipe.model_fields["method"].default))


def _method_terms(draft: Draft) -> Terms:
    return terms_of(_method(draft), _own_methods(draft))


def _terms_of_any(draft: Draft) -> set[str]:
    """Return the names of the terms of all methods. A term set to null may belong to another method."""
    return {name for terms in (*METHODS.values(), *_own_methods(draft).values()) for name in terms}


def _own_methods(draft: Draft) -> dict[str, Terms]:
    """Return the section ``methods`` of a recipe: changes of named methods, and additional methods."""
    methods = draft.get("methods") or {}
    if not isinstance(methods, dict) or not all(isinstance(terms, dict) for terms in methods.values()):
        raise UserError(f"methods: expected terms by method, as in {{gskd: {{gskd: {{samples: 8}}}}}}, got {methods!r}")
    return methods


def _without_options(network: Draft) -> Draft:
    """Return a network without options and weights, which another model cannot use."""
    return {key: value for key, value in network.items() if key not in ("options", "weights")}


def _parse(change: str) -> tuple[list[str], Any]:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise UserError(f"'{change}' is not a change to the recipe; write key=value, as in train.iterations=500")
    try:
        return key.split("."), read(text)
    except YAMLError:
        raise UserError(f"'{change}': the value is not YAML") from None


def _drop_lengths(draft: Draft, edits: Sequence[tuple[list[str], Any]]) -> None:
    """Drop iterations from a draft if the edits give epochs, and the reverse. Edits that give both stay an error."""
    for path, value in {tuple(path): value for path, value in edits}.items():
        *parents, last = path
        node: Any = draft
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if parents and parents[-1] == "train" and isinstance(node, dict):
            _set(draft, parents, {key: node[key] for key in trained(node, {last: value}) if key in node})


def _set(draft: Draft, path: list[str], value: Any) -> None:
    *parents, last = path
    node = draft
    for parent in parents:
        child = node.get(parent)
        if child is not None and not isinstance(child, dict):
            raise UserError(f"'{'.'.join(path)}': '{parent}' holds {child!r}, not keys")
        node[parent] = node = dict(child or {})
    if last == "model":
        for key in ("options", "weights"):
            node.pop(key, None)
    node[last] = value


def _inherit_training(draft: Draft) -> None:
    """Fill in the settings that the teacher's training leaves out with the student's."""
    train = draft.get("train")
    if isinstance(train, dict):
        # Without mistyped keys, so that an error names them once, for the student.
        known = {key: value for key, value in train.items() if key in Train.model_fields}
        draft["teacher"] = _with_training(draft.get("teacher"), known)


def _with_training(teacher: Any, train: Draft) -> Any:
    if not isinstance(teacher, dict):
        return teacher
    settings, members = teacher.get("train"), teacher.get("members")
    if isinstance(settings, dict):
        teacher = {**teacher, "train": trained(train, settings)}
    if isinstance(members, dict):
        teacher = {**teacher, "members": {name: _with_training(member, train) for name, member in members.items()}}
    return teacher


def _checked(draft: Draft) -> Recipe:
    try:
        return Recipe.model_validate(draft)
    except ValidationError as error:
        problems = [_problem(dict(each)) for each in error.errors(include_url=False)]
        raise UserError("; ".join(dict.fromkeys(problems))) from None


def _problem(error: Draft) -> str:
    key = ".".join(part for part in error["loc"] if isinstance(part, str))
    if error["type"] == "extra_forbidden":
        near = nearest(key, key_names())
        return f"unknown key '{key}'" + (f"; did you mean '{near}'?" if near else "")
    if error["type"] == "missing":
        return f"the recipe has no '{key}'"
    if error["type"] == "value_error":  # raised by the schema's validators, which name the value
        return f"{key}: {error['ctx']['error']}"
    return f"{key}: {error['msg'][:1].lower()}{error['msg'][1:]}, got {_short(error.get('input'))}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
