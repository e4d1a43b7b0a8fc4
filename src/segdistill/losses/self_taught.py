"""Base class of losses with a model that has a separate objective: a discriminator, mask tokens, an autoencoder."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn


class SelfTaught(nn.Module):
    """Base class of a loss with parts that learn from a separate objective, not from the value of the loss.

    The parts learn either at every step, together with the student (a discriminator), or before the student (mask
    tokens, an autoencoder). In the second case they learn for a share ``first_stage`` of the run's steps and are then
    frozen. A :class:`segdistill.Distiller` adds :meth:`inner_objective` to its total. The value of the loss passes no
    gradient to these parts, and the objective passes none to the student, so one ``backward()`` serves both. Other
    parts, such as an adapter that learns from the value as the student does, are not in :meth:`inner_parameters`.

    Attributes:
        first_stage: Length of the first stage, in which the parts learn before the student, as a share of the number of
            the student's steps; 0 if they learn together with the student.
        inner_power: In a first stage, the exponent of the polynomial decay of the learning rate of
            :meth:`inner_optimizer`, (1 - step / steps) ** inner_power; 0 keeps the rate constant.
    """

    needs_teacher = True
    first_stage: float = 0.0
    inner_power: float = 0.0

    def inner_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that only :meth:`inner_objective` trains."""
        raise NotImplementedError

    def inner_objective(self, student: Tensor | None, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the scalar that the parts minimize.

        Args:
            student: The student's feature, detached inside; None in a first stage, which has no student.
            teacher: The teacher's feature, detached inside.
            labels: The same labels as for the loss.
        """
        raise NotImplementedError

    def inner_optimizer(self) -> torch.optim.Optimizer:
        """Return a new optimizer for :meth:`inner_parameters`, with the settings of the paper."""
        raise NotImplementedError
