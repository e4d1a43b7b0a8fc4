"""From a term's words to the loss and the Term they name; what is wrong of the words alone needs no network."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any

from torch import nn

from segdistill import losses, schedules
from segdistill.catalogue.cards import loss_card
from segdistill.catalogue.terms import TERM_KEYS
from segdistill.distillation.facts import FACTS, NetworkPair
from segdistill.distillation.term import Feature, FeatureNames, Term
from segdistill.errors import UserError
from segdistill.losses._checks import check_all, checks_of
from segdistill.schedules import Schedule
from segdistill.system.importing import import_callable

Settings = Mapping[str, Any]
"""One term as a recipe has it: loss, on, labels, teacher, weight, and the hyper-parameters of its loss."""


def check_terms(terms: Mapping[str, Settings]) -> None:
    """Check what can be wrong of terms without networks: hyper-parameters, weights, labels, a loss of one's own.

    Raises:
        UserError: The first thing that is wrong; names the term.
    """
    for name, term in terms.items():
        try:
            Term(nn.Identity(), on=_features(term), labels=term["labels"], weight=_weight(term))
            make = _maker(term)
            if ":" not in term["loss"]:
                check_all(checks_of(make), _hyperparameters(term))
        except (TypeError, ValueError) as error:
            raise UserError(f"term '{name}': {error}") from None


def build_terms(terms: Mapping[str, Settings], pair: NetworkPair) -> dict[str, Term]:
    """Build every term; what a loss needs to know of the networks is asked of the pair, for the task of the student.

    Raises:
        UserError: A hyper-parameter or weight that the loss or schedule refuses; names the term.
    """
    alone = replace(pair, teacher=None)
    return {name: _term(name, term, alone if name == "task" else pair) for name, term in terms.items()}


def _term(name: str, term: Settings, pair: NetworkPair) -> Term:
    try:
        on, weight = _features(term), _weight(term)
        loss = _loss(term, pair, FeatureNames.of(on, term["teacher"]))
        return Term(loss, on=on, labels=term["labels"], weight=weight, teacher=term["teacher"])
    except (TypeError, ValueError) as error:
        raise UserError(f"term '{name}': {error}") from None


def _loss(term: Settings, pair: NetworkPair, features: FeatureNames) -> Any:
    arguments = _hyperparameters(term)
    if ":" not in term["loss"] and features.is_single == isinstance(loss_card(term["loss"]).on, tuple):
        takes = "one feature; give a term to each" if not features.is_single else "a list of features, as in on=[A, B]"
        raise UserError(f"{term['loss']} takes {takes}; got on={', '.join(features.student)}")
    make = _maker(term)
    for fact in FACTS.intersection(signature(make).parameters) - set(arguments):
        arguments[fact] = pair.fact(fact, features)
    if next(iter(signature(make).parameters), None) == "student":  # a function that is the loss itself
        return partial(make, **arguments) if arguments else make
    made = make(**arguments)
    if not isinstance(made, nn.Module):
        raise UserError(
            f"loss '{term['loss']}' returned {type(made).__name__}; expected a torch.nn.Module, or a function "
            "(student, teacher, labels) of these names"
        )
    return made


def _maker(term: Settings) -> Any:
    """Return what makes the term's loss: its class, or a function or class of one's own."""
    name = term["loss"]
    return import_callable(name, "loss") if ":" in name else getattr(losses, loss_card(name).module)


def _features(term: Settings) -> Feature | list[Feature]:
    def one(feature: str | dict[Any, str]) -> Feature:
        if isinstance(feature, str):
            return feature
        if set(feature) != {"student", "teacher"}:
            raise UserError("a feature is a name, or {student: NAME, teacher: NAME}")
        return feature["student"], feature["teacher"]

    return [one(feature) for feature in term["on"]] if isinstance(term["on"], list) else one(term["on"])


def _weight(term: Settings) -> float | str | Schedule:
    if not isinstance(term["weight"], dict):
        given: float | str = term["weight"]
        return given
    if len(term["weight"]) != 1:
        raise UserError("a weight schedule is one key, as in {linear: {start: 0, end: 1}}")
    ((name, arguments),) = term["weight"].items()
    schedule: Schedule = getattr(schedules, name)(**arguments)
    return schedule


def _hyperparameters(term: Settings) -> dict[str, Any]:
    """Return the keys that go to the loss's constructor."""
    return {key: value for key, value in term.items() if key not in TERM_KEYS}
