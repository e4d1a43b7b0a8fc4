"""A term's words: what its loss's card fills in, and what of it is its method's and what the user's."""

from collections.abc import Mapping
from typing import Any

from segdistill.catalogue import LossCard, card_of
from segdistill.errors import UserError, unknown
from segdistill.recipes.methods import Terms
from segdistill.recipes.schema import TermRecipe


def complete(name: str, term: Any) -> Any:
    """Fill in what the loss's card knows: the loss of the term's name, feature, labels, weight, hyper-parameters.

    Raises:
        UserError: Unknown loss or key, a hyper-parameter of another kind, labels that a loss cannot do without.
    """
    if not isinstance(term, dict):
        return term
    loss = str(term.get("loss", "cross_entropy" if name == "task" else name))
    if ":" in loss:
        return {"on": "logits", **({"labels": "valid"} if name == "task" else {}), **term, "loss": loss}
    card = card_of(loss)
    if name == "task" and card.teacher:
        raise UserError(f"terms.task.loss: {loss} needs a teacher, and the task is the student's own; give it a term "
                        f"of its own, terms.{loss}={{}}, and terms.task.weight=0 to train on that alone")  # fmt: skip
    keys = [*TermRecipe.model_fields, *card.hyperparameters, "ignore_index"]
    for key in term:
        if key not in keys:
            raise unknown(f"key of term '{name}' (loss {loss})", str(key), keys)
    _check_types(name, term, card)
    defaults = {key: value for key, value in card.hyperparameters.items() if value is not None}
    labels = {"labels": "valid"} if card.labels == "required" else {}
    on = card.on if isinstance(card.on, str) else list(card.on)
    filled = {"on": on, "weight": card.weight, **labels, **defaults, **term, "loss": loss}
    if card.labels == "required" and filled["labels"] is None and filled.get("sampling") != "random":
        raise UserError(f"terms.{name}.labels: {loss} needs labels; give 'valid' or 'teacher_correct'")
    return filled


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


def _check_types(name: str, term: dict[str, Any], card: LossCard) -> None:
    """Refuse a hyper-parameter of another kind than its default; its range is the loss's own to check."""
    for key, default in card.hyperparameters.items():
        value = term.get(key, default)
        if isinstance(default, bool):
            fits, expected = isinstance(value, bool), "true or false"
        elif isinstance(default, int):
            fits, expected = isinstance(value, int | str) and not isinstance(value, bool), "a whole number"
        elif isinstance(default, float):
            fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
            expected = "a number"
        else:
            continue
        if not fits:
            raise UserError(f"terms.{name}.{key}: expected {expected}, got {value!r}")
