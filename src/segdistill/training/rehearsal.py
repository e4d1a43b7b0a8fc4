"""Try one image and one step of a run, so that its mistakes appear before hours of training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.console import Console

from segdistill.distillation.distiller import Distiller
from segdistill.errors import FOREIGN, UserError, first_line
from segdistill.evaluation.scoring import try_scoring
from segdistill.training.console import quiet
from segdistill.training.look import look_at_data
from segdistill.training.session import Session


class Rehearsal:
    """A trial of a run. Building it takes seconds, and finds mistakes that need no look at the data.

    Args:
        session: The opened recipe.

    Raises:
        UserError: Weights that do not fit, features that do not exist, a loss that refuses its hyper-parameters.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        train = session.recipe.train
        self.part = train.batch_size // train.accumulate // session.fabric.world_size
        session.dataset("train")
        session.teacher()  # logs what it loads, which the run does not do again
        with quiet(), step_in_a_line(session, self.part):  # the run itself logs what the student loads
            self.distiller = session.build_trial()

    def run(self) -> None:
        """Score one image, and take one step on two.

        Raises:
            UserError: A mistake that the first step would hit: a loss that refuses its maps, batches of one image with
                batch norm; or that the first validation would hit, see :func:`try_networks`.
        """
        session, distiller = self.session, self.distiller
        try_networks(session, distiller)
        stream, device = session.stream(), session.fabric.device
        samples = [stream[position] for position in range(min(2, max(1, self.part)))]
        images, labels = (torch.stack(tensors).to(device) for tensors in zip(*samples, strict=True))
        with step_in_a_line(session, self.part), session.fabric.autocast():
            if distiller.first_stage is not None:
                distiller.first_stage.objective(images, labels)
            distiller(images, labels).total.backward()


def rehearse_first(session: Session, console: Console) -> None:
    """Rehearse a run before the look at its data, which takes longer.

    Raises:
        UserError: A mistake that the run would hit; where it is a label or an image, it names the file.
    """
    rehearsal = Rehearsal(session)
    try:
        rehearsal.run()
    except UserError:
        look_at_data(session, console)
        raise


def rehearse(session: Session) -> None:
    """Try a run's first image and step; see :class:`Rehearsal`.

    Raises:
        UserError: A mistake that the run would hit.
    """
    Rehearsal(session).run()


def try_networks(session: Session, distiller: Distiller) -> None:
    """Score one whole image of each scored split, by the student and by a teacher that is not scored before training.

    Raises:
        UserError: A network that cannot take whole images, or gives other scores than one for each class.
    """
    data, fabric = session.recipe.data, session.fabric
    is_trained = session.teacher() is not None  # and scored on val before a step is taken
    for split in session.scored_splits:
        dataset = session.dataset(split)
        try_scoring(distiller.student, dataset, fabric, data, "the student")
        if distiller.teacher is not None and not (is_trained and split == "val"):
            try_scoring(distiller.teacher, dataset, fabric, data, "the teacher")


@contextmanager
def step_in_a_line(session: Session, images: int) -> Iterator[None]:
    """Turn a failure of a step into one line, whichever network or loss raises it."""
    what = f"a step on {images} images of {session.recipe.data.crop} fails"
    try:
        yield
    except UserError:
        raise
    except ValueError as error:  # batch norm's complaint of a batch of one
        raise UserError(f"{what}: {error}; raise train.batch_size") from None
    except FOREIGN as error:  # shapes that do not fit, no memory
        raise UserError(f"{what}: {first_line(error)}") from error
