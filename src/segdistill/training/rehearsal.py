"""Trial of one image and one step of a run, so that mistakes appear before hours of training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from torch import nn

from segdistill.distillation.distiller import Distiller
from segdistill.errors import FOREIGN, UserError, few, first_line
from segdistill.evaluation.scoring import try_scoring
from segdistill.outputs import unwrap
from segdistill.system.memory import enough_memory
from segdistill.training.console import quiet
from segdistill.training.look import look_at_data
from segdistill.training.loop import TAKES_LESS_MEMORY
from segdistill.training.optimizer import build_optimizers
from segdistill.training.session import Session


class Rehearsal:
    """Trial of a run. Building it takes seconds, and finds the mistakes that do not depend on the data.

    Args:
        session: The opened recipe.

    Raises:
        UserError: If weights do not fit, a feature or a module of ``train.rate_factors`` does not exist, or a loss
            rejects its hyperparameters.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        train = session.recipe.train
        self.part = session.images_per_pass
        session.dataset("train")
        session.teacher()  # not quiet: the run uses this teacher and does not log its weights again
        with quiet(), step_in_a_line(session, self.part):  # quiet: the run logs the student's weights
            self.distiller = session.build_trial()
        build_optimizers(self.distiller, train)

    def run(self) -> None:
        """Score one image of each scored split, then run one forward and backward pass on at most two images.

        Raises:
            UserError: If the first step would fail (a loss rejects its features, a batch of one image with batch norm,
                a parameter without a gradient in one of several processes), or the first validation (see
                :func:`try_networks`).
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
        if session.fabric.world_size > 1:
            _check_all_learn(distiller.student)


def rehearse_first(session: Session, console: Console) -> None:
    """Rehearse a run before its data are checked, which takes longer.

    If the rehearsal fails, the data are checked, so that an error about a label or an image names the file.

    Raises:
        UserError: If the run would fail.
    """
    rehearsal = Rehearsal(session)
    try:
        rehearsal.run()
    except UserError:
        look_at_data(session, console)
        raise


def rehearse(session: Session) -> None:
    """Try one image and one step of a run; see :class:`Rehearsal`.

    Raises:
        UserError: If the run would fail.
    """
    Rehearsal(session).run()


def try_networks(session: Session, distiller: Distiller) -> None:
    """Score one whole image of each scored split with the student and the teacher.

    A trained teacher is left out on val: a run scores it there before the first step.

    Raises:
        UserError: If a network cannot take whole images, or does not return one score for each class.
    """
    data, fabric, protocol = session.recipe.data, session.fabric, session.recipe.evaluation
    is_trained = session.teacher() is not None
    for split in session.scored_splits:
        dataset = session.dataset(split)
        try_scoring(distiller.student, dataset, fabric, data, "the student", protocol)
        if distiller.teacher is not None and not (is_trained and split == "val"):
            try_scoring(distiller.teacher, dataset, fabric, data, "the teacher", protocol)


def _check_all_learn(student: nn.Module) -> None:
    """Raise if a step does not use a parameter: several processes would wait for its gradient."""
    unused = [name for name, each in unwrap(student).named_parameters() if each.requires_grad and each.grad is None]
    if unused:
        modules = sorted({name.rpartition(".")[0] or name for name in unused})
        raise UserError(
            f"the student does not use {few(unused, 3)} in a step, and "
            f"several processes need a gradient of each parameter; give student.freeze=[{','.join(modules)}]"
        )


@contextmanager
def step_in_a_line(session: Session, images: int) -> Iterator[None]:
    """Turn any failure of a network or loss in a step into a UserError of one line."""
    step = f"a step on {images} images of {session.recipe.data.crop}"
    failure = f"{step} fails"
    try:
        with enough_memory(step, TAKES_LESS_MEMORY):
            yield
    except UserError:
        raise
    except ValueError as error:  # batch norm rejects a batch of one image
        raise UserError(f"{failure}: {error}; raise train.batch_size") from None
    except FOREIGN as error:  # shapes that do not match
        raise UserError(f"{failure}: {first_line(error)}") from error
