"""Completion of a term with the defaults of its loss's card."""

from typing import Any

from segdistill.catalogue.cards import LossCard, loss_card
from segdistill.errors import UserError, unknown

TERM_KEYS = ("loss", "on", "labels", "teacher", "weight", "resize", "needs_teacher")
"""The keys of a term that are not hyperparameters of its loss."""


def complete(name: str, term: Any) -> Any:
    """Return a term with its defaults: the loss of the term's name, and what the card gives for all other keys.

    The card gives the feature, labels, weight and hyperparameters. A user's own loss (``package.module:callable``)
    has no card.

    Raises:
        UserError: An unknown loss or key, ``needs_teacher`` for a loss that has a card, a hyperparameter of the wrong
            type, or no labels for a loss that needs them.
    """
    if not isinstance(term, dict):
        return term
    loss = str(term.get("loss", "cross_entropy" if name == "task" else name))
    if ":" in loss:
        return {"on": "logits", **({"labels": "valid"} if name == "task" else {}), **term, "loss": loss}
    card = loss_card(loss)
    if name == "task" and card.teacher:
        raise UserError(f"terms.task.loss: {loss} needs a teacher, and the task has none; give {loss} a separate term, "
                        f"terms.{loss}={{}}, and terms.task.weight=0 to train on that alone")  # fmt: skip
    keys = [*TERM_KEYS, *card.hyperparameters, "ignore_index"]
    for key in term:
        if key not in keys:
            raise unknown(f"key of term '{name}' (loss {loss})", str(key), keys)
    if term.get("needs_teacher") is not None:
        raise UserError(f"terms.{name}.needs_teacher: a key for losses of your own; leave it out for {loss}")
    _check_types(name, term, card)
    defaults = {key: value for key, value in card.hyperparameters.items() if value is not None}
    labels = {"labels": "valid"} if card.labels == "required" else {}
    on = card.on if isinstance(card.on, str) else list(card.on)
    filled = {"on": on, "weight": card.weight, **labels, **defaults, **term, "loss": loss}
    if card.labels == "required" and filled["labels"] is None and filled.get("sampling") != "random":
        raise UserError(f"terms.{name}.labels: {loss} needs labels; give 'valid' or 'teacher_correct'")
    return filled


def _check_types(name: str, term: dict[str, Any], card: LossCard) -> None:
    """Raise for a hyperparameter whose type differs from its default's. The loss itself checks the range."""
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
