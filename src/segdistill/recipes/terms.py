"""Terms of a recipe: those of its method, and the user's settings, which another method keeps."""

from collections.abc import Mapping
from typing import Any

from segdistill.catalogue.methods import METHODS, Terms, terms_of
from segdistill.catalogue.terms import complete
from segdistill.errors import UserError
from segdistill.recipes.schema import Recipe


def method_terms(draft: Mapping[str, Any]) -> Terms:
    """Return the terms of a draft's method."""
    return terms_of(_method(draft), _own_methods(draft))


def terms_of_any(draft: Mapping[str, Any]) -> set[str]:
    """Return the names of the terms of all methods. A term set to null may belong to another method."""
    return {name for terms in (*METHODS.values(), *_own_methods(draft).values()) for name in terms}


def carried_terms(draft: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the terms of a draft that are valid under the method of ``changed``."""
    terms = draft.get("terms") or {}
    if not isinstance(terms, dict):
        raise UserError(f"terms: expected terms by name, as in {{kd: {{weight: 2}}}}, got {terms!r}")
    if not terms or _method(draft) == _method(changed):
        return terms
    return carried(terms, method_terms(draft), method_terms(changed))


def carried(terms: Mapping[str, Any], old: Terms, new: Terms) -> dict[str, Any]:
    """Return the part of a recipe's terms that is kept when another method is chosen.

    Changes to a term of the old method are kept if the new method has a term of that name. Terms that the old method
    does not have were added by the user and are kept.

    Args:
        terms: The terms of the recipe.
        old: The terms of the method for which the recipe was written.
        new: The terms of the chosen method.
    """
    return {
        name: own_part(name, term, old.get(name, {}))
        for name, term in terms.items()
        if name == "task" or name in new or name not in old
    }


def own_part(name: str, term: Any, given: Mapping[str, Any]) -> Any:
    """Return a term without the values that its method gives it, if the term has all keys, as in a printed recipe.

    A term with only some keys is returned unchanged: the user has chosen each of them.
    """
    if not isinstance(term, dict):
        return term
    loss = {"loss": term["loss"]} if "loss" in term else {}
    defaults = complete(name, {**given, **loss})
    if not defaults.keys() <= term.keys():
        return term
    changed = {key: value for key, value in term.items() if key not in defaults or defaults[key] != value}
    return changed if complete(name, dict(given))["loss"] == defaults["loss"] else {**changed, **loss}


def _method(draft: Mapping[str, Any]) -> str:
    return str(draft.get("method", Recipe.model_fields["method"].default))


def _own_methods(draft: Mapping[str, Any]) -> dict[str, Terms]:
    """Return the section ``methods`` of a recipe: changes of named methods, and additional methods."""
    methods = draft.get("methods") or {}
    if not isinstance(methods, dict) or not all(isinstance(terms, dict) for terms in methods.values()):
        raise UserError(f"methods: expected terms by method, as in {{gskd: {{gskd: {{samples: 8}}}}}}, got {methods!r}")
    return methods
