"""Builders of the networks and the augmentation that a recipe names."""

import logging
from collections.abc import Iterable
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
from segdistill.errors import unknown
from segdistill.evaluation.class_order import are_other, names_beside, put_in_order
from segdistill.models import LoadReport
from segdistill.recipes.schema import Data, Network, Teacher
from segdistill.training.from_run import with_keys_of_run

_log = logging.getLogger(__name__)


def training_augmentation(data: Data, task: Task) -> Transform:
    """Return the training augmentation. For segmentation, the random scales are in steps of 0.1."""
    transform: Transform
    if task == "classification":
        transform = classification_training_transform(data.crop)
        return transform
    low, high = data.scales
    count = int((high - low) * 10 + 1e-6) + 1
    scales = [low + 0.1 * step for step in range(count)]
    transform = training_transform(data.crop, scales, short_side=data.short_side, blur=data.blur)
    return transform


def build_trained(network: Network, run: Path, classes: Classes) -> nn.Module:
    """Build the student of a run's folder, in eval mode. The recipe names the network, so no code of the folder is run.

    Raises:
        UserError: See :func:`build_network`; or if the folder has no weights.
    """
    trained = network.model_copy(update={"weights": str(run), "weights_key": None})
    return build_network(trained, classes, strict=True).eval()


def build_network(network: Network, classes: Classes, *, strict: bool) -> nn.Module:
    """Build a network by name and load its weights.

    If the weights come from a run, the keys that the section leaves unset are the run's, see :func:`with_keys_of_run`.
    If the run has the same classes in another order, the rows of the classifier are reordered.

    Args:
        network: The section of the recipe.
        classes: The classes of the data set.
        strict: True if the weights must fill the whole network (a teacher); False if they may be those of a backbone
            (a student).

    Raises:
        UserError: See :func:`with_keys_of_run`, :func:`segdistill.models.build` and
            :func:`segdistill.models.load_weights`.
    """
    network = with_keys_of_run(network, strict=strict)
    built = models.build(
        network.model,
        len(classes),
        mean=network.mean,
        std=network.std,
        align_corners=network.align_corners,
        **network.options,
    )
    if network.weights is not None:
        file = Path(network.weights).expanduser()
        report = models.load_weights(built, file, strict=strict, key=network.weights_key)
        _log.info("%s", report)
        _order(built, names_beside(file), classes.names, report, strict=strict)
    return built


def freeze(network: nn.Module, paths: Iterable[str]) -> None:
    """Exclude modules from the training. A Distiller keeps them in eval mode.

    Args:
        network: The student.
        paths: Paths of the modules. A path may leave out leading modules if the rest is unique.

    Raises:
        UserError: The network has no such module; the message suggests the nearest.
    """
    modules = dict(network.named_modules())
    for path in paths:
        matches = [path] if path in modules else [name for name in modules if name.endswith(f".{path}")]
        if len(matches) != 1 or not path:
            known = [name for name in modules if name and name.count(".") < 2]
            raise unknown(f"module of {type(network).__name__} to freeze", path, known)
        modules[matches[0]].requires_grad_(False)


def _order(
    network: nn.Module, loaded: tuple[str, ...], names: tuple[str, ...], report: LoadReport, *, strict: bool
) -> None:
    if not strict and are_other(loaded, names):  # a student may start from weights trained on other classes
        _log.info("%s was trained on other classes; the student starts from these weights", report.path)
    else:
        put_in_order(network, loaded, names, str(report.path), initial=report.initial)


def build_teacher(teacher: Teacher, classes: Classes) -> nn.Module:
    """Build the teacher; several teachers become one ensemble.

    The weights must fill the whole network, unless the teacher is still to be trained.

    Raises:
        UserError: See :func:`build_network`.
    """
    if teacher.members:
        return Ensemble({name: build_teacher(member, classes) for name, member in teacher.members.items()})
    return build_network(teacher, classes, strict=teacher.weights is not None and teacher.train is None)
