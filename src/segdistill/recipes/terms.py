"""Keep the user's own words on terms when another method is chosen."""

from collections.abc import Mapping
from typing import Any

from segdistill.catalogue.methods import Terms
from segdistill.catalogue.terms import complete


def carried(terms: Mapping[str, Any], old: Terms, new: Terms) -> dict[str, Any]:
    """Return what holds of a recipe's terms when another method is chosen.

    What was changed of the old method's terms holds where the new one has them too; a term that is of neither was
    added, and stays.

    Args:
        terms: What the recipe says of its terms.
        old: The terms of the method that it said so of.
        new: Those of the one that is chosen.
    """
    return {
        name: own_part(name, term, old.get(name, {}))
        for name, term in terms.items()
        if name == "task" or name in new or name not in old
    }


def own_part(name: str, term: Any, given: Mapping[str, Any]) -> Any:
    """Return a term without what its method gives it, where it is written out in full, as a printed recipe has it.

    Of a term that says only a few keys, each is meant.
    """
    if not isinstance(term, dict):
        return term
    loss = {"loss": term["loss"]} if "loss" in term else {}
    there = complete(name, {**given, **loss})
    if not there.keys() <= term.keys():
        return term
    own = {key: value for key, value in term.items() if key not in there or there[key] != value}
    return own if complete(name, dict(given))["loss"] == there["loss"] else {**own, **loss}
