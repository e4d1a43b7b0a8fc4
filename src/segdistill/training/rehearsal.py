"""One step and one image of a run, taken and forgotten: what it would stumble on after hours is found at once."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric

from segdistill.data import TrainingStream
from segdistill.distillation.distiller import Distiller
from segdistill.errors import FOREIGN, UserError, first_line
from segdistill.evaluation.scoring import try_scoring
from segdistill.recipes import Recipe
from segdistill.training.build import build_dataset, build_transform, final_split
from segdistill.training.console import quiet
from segdistill.training.train import build_trial, make_fabric


class Rehearsal:
    """One image and one step of a run. Building it takes seconds, and finds what needs no look at the data.

    Args:
        recipe: The run's.

    Raises:
        UserError: Weights that do not fit, features that are not there, a loss that refuses its hyper-parameters.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.fabric = recipe, make_fabric(recipe.train)
        self.dataset = build_dataset(recipe.data, "train")
        self.part = recipe.train.batch_size // recipe.train.accumulate // self.fabric.world_size
        with quiet(), step_in_a_line(recipe, self.part):  # the run itself will say what it loads
            self.distiller = build_trial(recipe, self.dataset, self.fabric)

    def run(self) -> None:
        """Score one image, take one step on two and forget it.

        Raises:
            UserError: Whatever a step would stumble on: a loss that refuses its maps, batches of one image where there
                is batch norm. And what the first validation would: see :func:`try_networks`.
        """
        recipe, distiller = self.recipe, self.distiller
        try_networks(recipe, distiller, self.fabric)
        stream = TrainingStream(self.dataset, build_transform(recipe.data, self.dataset.task), recipe.seed)
        samples = [stream[position] for position in range(min(2, max(1, self.part)))]
        images, labels = (torch.stack(tensors).to(self.fabric.device) for tensors in zip(*samples, strict=True))
        with step_in_a_line(recipe, self.part), self.fabric.autocast():
            if distiller.first_stage is not None:
                distiller.first_stage.objective(images, labels)
            distiller(images, labels).total.backward()


def rehearse(recipe: Recipe) -> None:
    """Take a run's first image and step and forget them; see :class:`Rehearsal`.

    Raises:
        UserError: What the run would stumble on.
    """
    Rehearsal(recipe).run()


def try_networks(recipe: Recipe, distiller: Distiller, fabric: Fabric) -> None:
    """Score one whole image of each split that is scored, by the student and by a teacher that is not scored before.

    Raises:
        UserError: A network that cannot take whole images, or gives other scores than one for each class.
    """
    is_trained = recipe.teacher is not None and recipe.teacher.is_trained  # and scored on val before a step is taken
    for split in dict.fromkeys(("val", final_split(recipe.data))):
        dataset = build_dataset(recipe.data, split)
        try_scoring(distiller.student, dataset, fabric, recipe.data, "the student")
        if distiller.teacher is not None and not (is_trained and split == "val"):
            try_scoring(distiller.teacher, dataset, fabric, recipe.data, "the teacher")


@contextmanager
def step_in_a_line(recipe: Recipe, images: int) -> Iterator[None]:
    """Say in a line why a step on so many images fails, whichever network or loss of one's own it is that does."""
    what = f"a step on {images} images of {recipe.data.crop} fails"
    try:
        yield
    except UserError:
        raise
    except ValueError as error:  # batch norm's complaint of a batch of one
        raise UserError(f"{what}: {error}; raise train.batch_size") from None
    except FOREIGN as error:  # shapes that do not fit, no memory
        raise UserError(f"{what}: {first_line(error)}") from error
