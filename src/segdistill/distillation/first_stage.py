"""The first stage of training, in which parts of some losses learn from the teacher before the student's first step."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from segdistill.distillation.guards import named
from segdistill.distillation.parts import Part
from segdistill.distillation.wired import WiredTerm
from segdistill.losses._ops import at_least_float32
from segdistill.losses.self_taught import SelfTaught


class FirstStage:
    """The training of parts of losses that learn before the student, such as mask tokens or an autoencoder.

    Example::

        stage = distiller.first_stage
        if stage is not None:
            optimizers, count = stage.optimizers(), math.ceil(stage.share * steps)
            for step, (images, labels) in enumerate(first(batches, count)):
                stage.set_learning_rates(optimizers, step / count)
                stage.objective(images, labels).backward()
                for optimizer in optimizers.values():
                    optimizer.step()
                    optimizer.zero_grad()
            stage.finish()

    Args:
        terms: The terms whose losses have such parts, by name.
        prepare: A function that returns the teacher's features and the labels of a batch, such as
            :meth:`segdistill.Distiller.prepare`.
    """

    def __init__(self, terms: Mapping[str, WiredTerm], prepare: Callable[[Tensor, Tensor], Part]) -> None:
        self._terms = dict(terms)
        self._prepare = prepare

    @property
    def share(self) -> float:
        """The number of steps of the stage, as a share of the number of the student's steps."""
        return max(loss.first_stage for loss in self._losses().values())

    def objective(self, images: Tensor, labels: Tensor, part: Part | None = None) -> Tensor:
        """Return the scalar to minimize. The student does not run.

        Args:
            images, labels, part: As for a step of the Distiller.
        """
        if part is None:
            part = self._prepare(images, labels)
        objectives = []
        for name, term in self._terms.items():
            with named(name):
                value = term.first_stage_objective(part.teacher, part.labels[term.labels])
                objectives.append(at_least_float32(value))
        return torch.stack(objectives).sum()

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return a new optimizer for the parts of each term, by the term's name, with the settings of its paper."""
        return {name: loss.inner_optimizer() for name, loss in self._losses().items()}

    def set_learning_rates(self, optimizers: Mapping[str, torch.optim.Optimizer], progress: float) -> None:
        """Set the learning rates of a step, for losses whose paper decays them: see ``SelfTaught.inner_power``.

        Args:
            optimizers: The optimizers that :meth:`optimizers` has returned.
            progress: The number of steps taken, as a share of the steps of the stage.
        """
        for name, loss in self._losses().items():
            for group in optimizers[name].param_groups if loss.inner_power else ():
                initial = group.setdefault("initial_lr", group["lr"])  # in the group, so that it is saved
                group["lr"] = initial * (1 - progress) ** loss.inner_power

    def parameters(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters that learn, by the term's name."""
        return {name: list(loss.inner_parameters()) for name, loss in self._losses().items()}

    def finish(self) -> None:
        """Freeze the parts. Call it after the last step of the stage, before wrapping the Distiller in DDP."""
        for parameters in self.parameters().values():
            for parameter in parameters:
                parameter.requires_grad_(False)

    def _losses(self) -> dict[str, SelfTaught]:
        return {name: term.self_taught for name, term in self._terms.items() if term.self_taught is not None}
