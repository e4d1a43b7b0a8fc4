"""Loading of a recipe: its source, the changes to it, its terms, and a check of all keys and values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segdistill.catalogue.methods import terms_of, updated
from segdistill.catalogue.terms import complete
from segdistill.errors import UserError, unknown
from segdistill.recipes.changes import Change, drop_lengths, parse, set_value
from segdistill.recipes.check import checked
from segdistill.recipes.length import in_steps, trained
from segdistill.recipes.schema import Recipe, Train
from segdistill.recipes.sources import Draft, read_source
from segdistill.recipes.terms import carried_terms, method_terms, terms_of_any
from segdistill.recipes.yaml import write


def load(source: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a built-in name or a YAML file, with ``changes`` such as ``train.iterations=500``.

    A YAML file holds a complete recipe, or the differences from the recipe that its key ``recipe`` names.

    Raises:
        UserError: If the recipe is unknown, the file is unreadable, a key, method or loss is unknown (the message names
            the nearest), or a value has the wrong type. One message lists all problems of keys and values.
    """
    source_draft, edits = read_source(source), parse(changes)
    draft = dict(source_draft)
    drop_lengths(draft, edits)
    for edit in edits:
        if not edit.is_of_terms:
            set_value(draft, edit.path, edit.value)
    draft["terms"] = _terms(source_draft, draft, [edit for edit in edits if edit.is_of_terms])
    _inherit_training(draft)
    return in_steps(checked(draft))


def to_yaml(recipe: Recipe) -> str:
    """Return a recipe as YAML that :func:`load` reads back. All values are written, defaults too."""
    values = recipe.model_dump(mode="json")
    left_out = {name: None for name in terms_of(recipe.method, recipe.methods) if name not in recipe.terms}
    return write({**values, "terms": {**values["terms"], **left_out}})


def _terms(source: Draft, draft: Draft, edits: Sequence[Change]) -> Draft:
    """Return the complete terms: those of the method, updated by the source's own, then by the changes."""
    terms = {"task": {}, **method_terms(draft)}
    for name, term in carried_terms(source, draft).items():
        terms[name] = updated(terms.get(name), term)
    for path, value in edits:
        if len(path) == 1:
            raise UserError("terms: change one term at a time, as in terms.kd.weight=2 or terms.kd=null")
        name = path[1]
        if len(path) > 2:
            section = {"terms": terms}
            set_value(section, path, value)
            terms = section["terms"]
        elif value is None and name not in terms and name not in terms_of_any(draft):
            raise unknown("term", name, terms)
        else:
            terms[name] = updated(terms.get(name), value)
    terms = {str(name): complete(str(name), term) for name, term in terms.items() if term is not None}
    if "task" not in terms:
        raise UserError("terms.task cannot be removed; terms.task.weight=0 trains on the other terms alone")
    return terms


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
