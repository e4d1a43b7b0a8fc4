"""Terms built from their settings, as a recipe or a method gives them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from inspect import isfunction, signature
from typing import Any

from torch import nn

from segdistill import losses, schedules
from segdistill.catalogue.cards import loss_card
from segdistill.catalogue.terms import TERM_KEYS
from segdistill.distillation.facts import FACTS, Asked, NetworkPair
from segdistill.distillation.feature_names import Feature, FeatureNames
from segdistill.distillation.guards import named
from segdistill.distillation.term import Term
from segdistill.errors import UserError, first_line
from segdistill.losses._checks import check_all, checks_of
from segdistill.losses.loss import declared
from segdistill.schedules import Schedule
from segdistill.system.importing import import_callable

Settings = Mapping[str, Any]
"""One completed term: its loss, features and hyperparameters; labels, teacher and weight if they are given."""


def check_terms(terms: Mapping[str, Settings]) -> None:
    """Check what can be checked without the networks: hyperparameters, weights, labels, a user's own loss.

    Raises:
        UserError: The first mistake; the message names the term.
    """
    for name, term in terms.items():
        with named(name):
            draft = _Draft.of(term)
            draft.term(nn.Identity())
            draft.check_call(dict.fromkeys(draft.asked.facts))
            draft.check_teacher(name, draft.maker)
            if ":" not in term["loss"]:
                check_all(checks_of(draft.maker), draft.arguments)


def build_terms(terms: Mapping[str, Settings], pair: NetworkPair) -> dict[str, Term]:
    """Return every term, with the facts about the networks that its loss asks for. ``task`` has no teacher.

    Losses with parameters are built in the order of the terms, so equal seeds give equal parameters.

    Raises:
        UserError: A loss or schedule refuses a hyperparameter or a weight; the message names the term.
    """
    drafts = {}
    for name, term in terms.items():
        with named(name):
            drafts[name] = _Draft.of(term)
            drafts[name].check_number_of_features()
    facts = pair.facts({name: draft.asked for name, draft in drafts.items()})
    built = {}
    for name, draft in drafts.items():
        with named(name):
            loss = draft.loss(facts[name])
            draft.check_teacher(name, loss)
            built[name] = draft.term(loss)
    return built


@dataclass(frozen=True)
class _Draft:
    """A term whose loss is not built yet.

    Attributes:
        settings: The settings of the term.
        maker: The class of the loss, or a user's own function or class.
        on: The features that the term compares.
        arguments: The hyperparameters of the loss.
    """

    settings: Settings
    maker: Any
    on: Feature | list[Feature]
    arguments: dict[str, Any]

    @classmethod
    def of(cls, settings: Settings) -> "_Draft":
        arguments = {key: value for key, value in settings.items() if key not in TERM_KEYS}
        return cls(settings, _maker(settings["loss"]), _features(settings["on"]), arguments)

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.on, self.settings.get("teacher"))

    @property
    def asked(self) -> Asked:
        """The facts that the loss's constructor takes and the settings do not give."""
        return Asked(FACTS.intersection(signature(self.maker).parameters) - set(self.arguments), self.features)

    def check_number_of_features(self) -> None:
        loss = self.settings["loss"]
        if ":" not in loss and self.features.is_single == isinstance(loss_card(loss).on, tuple):
            one = not self.features.is_single
            takes = "one feature; give each its own term" if one else "a list of features, as in on=[A, B]"
            raise UserError(f"{loss} takes {takes}; got on={', '.join(self.features.student)}")

    def check_call(self, facts: Mapping[str, Any]) -> None:
        """Check that the user's own class or maker of a loss takes the hyperparameters and these facts."""
        if ":" not in self.settings["loss"] or self.is_loss:
            return
        try:
            signature(self.maker).bind(**self.arguments, **facts)
        except TypeError as error:
            raise self._no_loss(error) from error

    def _no_loss(self, error: TypeError) -> UserError:
        """Return the error for a call of the user's own class or function that failed."""
        own = self.settings["loss"]
        remedy = "give the term's keys the names of its arguments"
        if isfunction(self.maker):
            remedy = (
                "if the function is the loss itself, name its first parameter 'student'; otherwise let it return a "
                "torch.nn.Module, and give the term the keys that it takes"
            )
        given = ", ".join(self.arguments) or "no hyperparameters"
        return UserError(f"loss '{own}' was called with {given}, which fails: {first_line(error)}; {remedy}")

    def check_teacher(self, name: str, loss: Any) -> None:
        """Compare ``needs_teacher`` of the settings, which a recipe goes by, with what the user's own loss declares.

        Args:
            name: The name of the term. The task never has a teacher.
            loss: The loss. If it is not built yet: its class or function, which may declare nothing.
        """
        own, says = self.settings["loss"], declared(loss, "needs_teacher")
        is_built = self.is_loss or loss is not self.maker
        if ":" not in own or name == "task" or not (is_built or isinstance(says, bool)):
            return
        given = self.settings.get("needs_teacher") is not False
        if given == (says is None or bool(says)):
            return
        if given:
            raise UserError(
                f"{own} declares needs_teacher = False; give terms.{name}.needs_teacher=false too, so that the student "
                "alone has the term as well"
            )
        raise UserError(
            f"terms.{name}.needs_teacher is false, and {own} does not declare needs_teacher = False; declare it, and "
            "the loss is called with None in place of the teacher; or leave the key out"
        )

    @property
    def is_loss(self) -> bool:
        """True if the user's own function is the loss itself, and not a maker of it."""
        return next(iter(signature(self.maker).parameters), None) == "student"

    def loss(self, facts: Mapping[str, Any]) -> Any:
        arguments = {**self.arguments, **facts}
        if self.is_loss:
            return partial(self.maker, **arguments) if arguments else self.maker
        self.check_call(facts)
        try:
            made = self.maker(**arguments)
        except TypeError as error:
            if ":" not in self.settings["loss"]:
                raise
            raise self._no_loss(error) from error
        if not isinstance(made, nn.Module):
            raise UserError(
                f"loss '{self.settings['loss']}' returned {type(made).__name__}; expected a torch.nn.Module, or a "
                "function with the parameters (student, teacher, labels)"
            )
        return made

    def term(self, loss: Any) -> Term:
        settings = self.settings
        return Term(
            loss,
            on=self.on,
            labels=settings.get("labels"),
            weight=_weight(settings.get("weight", 1.0)),
            teacher=settings.get("teacher"),
            resize=settings.get("resize"),
        )


def _maker(name: str) -> Any:
    return import_callable(name, "loss") if ":" in name else getattr(losses, loss_card(name).module)


def _features(on: Any) -> Feature | list[Feature]:
    def one(feature: str | dict[Any, str]) -> Feature:
        if isinstance(feature, str):
            return feature
        if set(feature) != {"student", "teacher"}:
            raise UserError("a feature is a name, or {student: NAME, teacher: NAME}")
        return feature["student"], feature["teacher"]

    return [one(feature) for feature in on] if isinstance(on, list) else one(on)


def _weight(weight: Any) -> float | str | Schedule:
    if not isinstance(weight, dict):
        given: float | str = weight
        return given
    if len(weight) != 1:
        raise UserError("a weight schedule is one key, as in {linear: {start: 0, end: 1}}")
    ((name, arguments),) = weight.items()
    schedule: Schedule = getattr(schedules, name)(**arguments)
    return schedule
