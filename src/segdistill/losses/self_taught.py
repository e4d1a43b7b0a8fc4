"""The shape of a loss that has parts with an objective of their own: a discriminator, mask tokens, an autoencoder."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn


class SelfTaught(nn.Module):
    """A loss with parts that learn from an objective of their own, not from the student's.

    They learn beside the student, at every step (a discriminator), or before it (mask tokens, an autoencoder): for a
    share ``first_stage`` of the run's steps, after which they are frozen. A :class:`segdistill.Distiller` adds
    :meth:`inner_objective` to its total; the value of the loss sends these parts no gradient, and the objective sends
    the student none, so one ``backward()`` serves both. Other parts, such as an adapter that learns from the loss's
    value as the student does, are not among :meth:`inner_parameters`.

    Attributes:
        first_stage: The share of the run's steps, counted from its number of student steps, that the parts learn
            before the student does; 0 where they learn beside it.
    """

    needs_teacher = True
    first_stage: float = 0.0

    def inner_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that only :meth:`inner_objective` trains."""
        raise NotImplementedError

    def inner_objective(self, student: Tensor | None, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the scalar that the parts minimise.

        Args:
            student: The student's feature, detached inside; None in a first stage, which has no student.
            teacher: The teacher's, detached inside.
            labels: As the loss itself takes them.
        """
        raise NotImplementedError

    def inner_optimizer(self) -> torch.optim.Optimizer:
        """Return a new optimizer for :meth:`inner_parameters`, with the settings of the paper."""
        raise NotImplementedError
