"""Terms of a recipe under another method: the user's settings are kept."""

from collections.abc import Mapping
from typing import Any

from segdistill.catalogue.methods import Terms
from segdistill.catalogue.terms import complete


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
