"""Length of a training: loading a recipe converts epochs and budgets to numbers of steps."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from segdistill.data import dataset_card, open_layout
from segdistill.recipes.schema import Data, Recipe, Teacher, Train

_log = logging.getLogger(__name__)

_LENGTHS = ("epochs", "iterations")


def in_steps(recipe: Recipe) -> Recipe:
    """Return the recipe with epochs converted to iterations, and numbers of steps multiplied by the budget.

    Raises:
        UserError: If a length is in epochs and the training images cannot be counted.
    """
    trains = [recipe.train, *(_trains_of(recipe.teacher) if recipe.teacher is not None else ())]
    images = _training_images(recipe.data) if any(train.epochs is not None for train in trains) else 0
    teacher = recipe.teacher and _teacher_in_steps(recipe.teacher, images)
    return recipe.model_copy(update={"train": recipe.train.in_steps(images), "teacher": teacher})


def trained(below: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings ``below`` updated by ``own``. Epochs or iterations in ``own`` replace both of ``below``."""
    given = [name for name in _LENGTHS if own.get(name) is not None]
    return {**{key: value for key, value in below.items() if not (given and key in _LENGTHS)}, **own}


def _teacher_in_steps(teacher: Teacher, images: int) -> Teacher:
    members = {name: _teacher_in_steps(member, images) for name, member in teacher.members.items()}
    train = teacher.train and teacher.train.in_steps(images)
    scaled = teacher.model_copy(update={"train": train, "members": members})
    short = [train.budget for train in _trains_of(teacher) if train.budget < 1]
    if not short or not teacher.min_miou:
        return scaled
    _log.info("with a budget of %g, the teacher need not reach teacher.min_miou=%g", min(short), teacher.min_miou)
    return scaled.model_copy(update={"min_miou": 0.0})


def _trains_of(teacher: Teacher) -> Iterator[Train]:
    return (each.train for each in teacher.each.values() if each.train is not None)


def _training_images(data: Data) -> int:
    if dataset_card(data.name).generated:
        return data.images[0]
    images = open_layout(data.name, data.root, data.split).split("train").images
    if images:
        return len(images)
    from segdistill.data import open_dataset  # images in tables are counted by a reader that needs PyTorch

    return len(open_dataset(data.name, data.root, "train", share=data.split))
