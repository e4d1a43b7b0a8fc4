"""From the words of a recipe to the objects they name."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from torch import nn

from segdistill import losses, models, schedules
from segdistill.catalogue import card_of
from segdistill.data import (
    ClassificationDataset,
    SegmentationDataset,
    Task,
    classification_evaluation_transform,
    classification_training_transform,
    evaluation_transform,
    open_dataset,
    open_layout,
    training_transform,
)
from segdistill.data.scenes import Scenes
from segdistill.data.shapes import Shapes
from segdistill.data.stream import Transform
from segdistill.ensemble import Ensemble
from segdistill.errors import UserError, unknown
from segdistill.recipes.schema import Data, Network, Teacher, TermRecipe
from segdistill.schedules import Schedule
from segdistill.term import Feature, FeatureNames, Term
from segdistill.training.pair import FACTS, NetworkPair

SPLITS = ("train", "val", "test")


def build_dataset(data: Data, split: str) -> SegmentationDataset | ClassificationDataset:
    """Open one split as the recipe says; for scoring, labels keep their own size.

    Raises:
        UserError: See :func:`segdistill.data.open_dataset`.
    """
    scale = None if data.scale == 1 else data.scale
    native = split != "train"
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    length = data.images[SPLITS.index(split)]
    if data.name == "shapes":
        return Shapes(split, length=length, size=data.size, scale=scale, cache=data.cache)
    if data.name == "scenes":
        return Scenes(split, length=length, size=data.size, scale=scale, native_labels=native, cache=data.cache)
    return open_dataset(data.name, data.root, split, scale=scale, native_labels=native, cache=data.cache)


def build_transform(data: Data, task: Task) -> Transform:
    """Return the training augmentation; for segmentation with random scales in steps of 0.1."""
    transform: Transform
    if task == "classification":
        transform = classification_training_transform(data.crop)
        return transform
    low, high = data.scales
    count = int((high - low) * 10 + 1e-6) + 1
    transform = training_transform(data.crop, [low + 0.1 * step for step in range(count)])
    return transform


def build_evaluation_transform(data: Data, task: Task) -> Transform:
    """Return what images are scored with: whole ones for segmentation, their centre for classification."""
    transform: Transform = (
        classification_evaluation_transform(data.crop) if task == "classification" else evaluation_transform()
    )
    return transform


def final_split(data: Data) -> str:
    """Return the split that results are reported on: test where the data set has one, else val."""
    splits = {split.name for split in open_layout(data.name, data.root).splits}
    return "test" if "test" in splits else "val"


def build_network(network: Network, num_classes: int, *, strict: bool) -> nn.Module:
    """Build a network by name, with its weights.

    Args:
        network: The recipe's words.
        num_classes: The data set's.
        strict: A teacher's weights must fill the whole network; a student's may be a backbone's alone.

    Raises:
        UserError: See :func:`segdistill.models.build` and :func:`segdistill.models.load_weights`.
    """
    built = models.build(network.model, num_classes, **network.options)
    if network.weights is not None:
        report = models.load_weights(built, Path(network.weights).expanduser(), strict=strict)
        logging.getLogger(__name__).info("%s", report)
    return built


def build_teacher(teacher: Teacher, num_classes: int) -> nn.Module:
    """Build the teacher, or several as one; weights must fill all of it unless it has yet to be trained.

    Raises:
        UserError: See :func:`build_network`.
    """
    if teacher.members:
        return Ensemble({name: build_teacher(member, num_classes) for name, member in teacher.members.items()})
    return build_network(teacher, num_classes, strict=teacher.weights is not None and teacher.train is None)


def build_terms(terms: Mapping[str, TermRecipe], pair: NetworkPair) -> dict[str, Term]:
    """Build every term; what a loss needs to know of the networks is asked of the pair, for the task of the student.

    Raises:
        UserError: A hyper-parameter or weight that the loss or schedule refuses; names the term.
    """
    alone = replace(pair, teacher=None)
    return {name: _term(name, term, alone if name == "task" else pair) for name, term in terms.items()}


def _term(name: str, term: TermRecipe, pair: NetworkPair) -> Term:
    try:
        on, weight = _features(term), _weight(term)
        loss = _loss(term, pair, FeatureNames.of(on, term.teacher))
        return Term(loss, on=on, labels=term.labels, weight=weight, teacher=term.teacher)
    except (TypeError, ValueError) as error:
        raise UserError(f"term '{name}': {error}") from None


def _loss(term: TermRecipe, pair: NetworkPair, features: FeatureNames) -> Any:
    arguments = term.hyperparameters
    if ":" not in term.loss and features.is_single == isinstance(card_of(term.loss).on, tuple):
        takes = "one feature; give a term to each" if not features.is_single else "a list of features, as in on=[A, B]"
        raise UserError(f"{term.loss} takes {takes}; got on={', '.join(features.student)}")
    make = _imported(term.loss) if ":" in term.loss else getattr(losses, card_of(term.loss).module)
    for fact in FACTS.intersection(signature(make).parameters) - set(arguments):
        arguments[fact] = pair.fact(fact, features)
    if next(iter(signature(make).parameters), None) == "student":  # a function that is the loss itself
        return partial(make, **arguments) if arguments else make
    return make(**arguments)


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"cannot import '{path}': {error}; expected package.module:callable, importable from here"
        ) from None


def _features(term: TermRecipe) -> Feature | list[Feature]:
    def one(feature: str | dict[Any, str]) -> Feature:
        if isinstance(feature, str):
            return feature
        if set(feature) != {"student", "teacher"}:
            raise UserError("a feature is a name, or {student: NAME, teacher: NAME}")
        return feature["student"], feature["teacher"]

    return [one(feature) for feature in term.on] if isinstance(term.on, list) else one(term.on)


def _weight(term: TermRecipe) -> float | str | Schedule:
    if not isinstance(term.weight, dict):
        return term.weight
    if len(term.weight) != 1:
        raise UserError("a weight schedule is one key, as in {linear: {start: 0, end: 1}}")
    ((name, arguments),) = term.weight.items()
    schedule: Schedule = getattr(schedules, name)(**arguments)
    return schedule
