"""From the words of a recipe to the objects they name."""

import logging
from pathlib import Path

from torch import nn

from segdistill import models
from segdistill.data import (
    Classes,
    Task,
    classification_training_transform,
    training_transform,
)
from segdistill.data.stream import Transform
from segdistill.distillation.ensemble import Ensemble
from segdistill.evaluation.class_order import are_other, names_beside, put_in_order
from segdistill.models import LoadReport
from segdistill.recipes.schema import Data, Network, Teacher

_log = logging.getLogger(__name__)


def training_augmentation(data: Data, task: Task) -> Transform:
    """Return the training augmentation; for segmentation with random scales in steps of 0.1."""
    transform: Transform
    if task == "classification":
        transform = classification_training_transform(data.crop)
        return transform
    low, high = data.scales
    count = int((high - low) * 10 + 1e-6) + 1
    transform = training_transform(data.crop, [low + 0.1 * step for step in range(count)])
    return transform


def build_network(network: Network, classes: Classes, *, strict: bool) -> nn.Module:
    """Build a network by name, with its weights; those of a run are put in the order of these classes.

    Args:
        network: The recipe's words.
        classes: The data set's.
        strict: A teacher's weights must fill the whole network; a student's may be a backbone's alone.

    Raises:
        UserError: See :func:`segdistill.models.build` and :func:`segdistill.models.load_weights`.
    """
    built = models.build(network.model, len(classes), mean=network.mean, std=network.std, **network.options)
    if network.weights is not None:
        file = Path(network.weights).expanduser()
        report = models.load_weights(built, file, strict=strict, key=network.weights_key)
        _log.info("%s", report)
        _order(built, names_beside(file), classes.names, report, strict=strict)
    return built


def _order(
    network: nn.Module, theirs: tuple[str, ...], ours: tuple[str, ...], report: LoadReport, *, strict: bool
) -> None:
    if not strict and are_other(theirs, ours):  # a student may begin with what was learned on something else
        _log.info("%s was trained on other classes; the student learns these from its values", report.path)
    else:
        put_in_order(network, theirs, ours, str(report.path), initial=report.initial)


def build_teacher(teacher: Teacher, classes: Classes) -> nn.Module:
    """Build the teacher, or several as one; weights must fill all of it unless it has yet to be trained.

    Raises:
        UserError: See :func:`build_network`.
    """
    if teacher.members:
        return Ensemble({name: build_teacher(member, classes) for name, member in teacher.members.items()})
    return build_network(teacher, classes, strict=teacher.weights is not None and teacher.train is None)
