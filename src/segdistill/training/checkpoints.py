"""Checkpoints of a training: the last one, from which it resumes, and the best student so far."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from segdistill.distillation.distiller import Distiller
from segdistill.distillation.gradients import AutoWeight
from segdistill.errors import UserError
from segdistill.runs import checkpoint
from segdistill.runs.inputs import Inputs
from segdistill.runs.metric import metric_of


@dataclass
class Progress:
    """Progress of a run; part of its checkpoint.

    Attributes:
        step: Number of steps taken.
        seconds: Training time so far, over all sessions.
        best_score: Best validation score, in [0, 1]; None before the first validation.
        best_step: The step of the best score.
        silent: For each term that sent the student no gradient when last measured, how often in a row.
        skipped: Number of steps in a row that the float16 loss scaler has skipped.
    """

    step: int = 0
    seconds: float = 0.0
    best_score: float | None = None
    best_step: int = 0
    silent: dict[str, int] = field(default_factory=dict)
    skipped: int = 0


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training, and the file that holds the student alone.

    Attributes:
        folder: The run's folder.
        distiller: The Distiller that is trained.
        fabric: The engine.
        inputs: The record of data, weights and own code that a checkpoint stores.
        save_student: Writes the student alone.
    """

    folder: Path
    distiller: Distiller
    fabric: Fabric
    inputs: Inputs
    save_student: Callable[[nn.Module], None]

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.folder / "checkpoints" / "last.pt"

    @property
    def best(self) -> Path:
        """The file of the student with the best validation score."""
        return self.folder / "checkpoints" / "best.pt"

    def save(self, optimizers: Sequence[Any], progress: Progress) -> None:
        """Write everything that resuming needs."""
        state = {
            **vars(progress),
            "distiller": self.distiller.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "precision": self.fabric.strategy.precision.state_dict(),
            "inputs": self.inputs,
            "shares": self._shares(),
        }
        checkpoint.save(state, self.last)
        if not self.best.exists():  # before the first validation, the latest student is the best one
            self.save_best(progress.step, {})

    def save_best(self, step: int, score: dict[str, float]) -> None:
        """Write the student of this step with its score."""
        checkpoint.save({"step": step, **score, "student": self.distiller.student.state_dict()}, self.best)
        self.save_student(self.distiller.student)

    def resume(self, optimizers: Sequence[torch.optim.Optimizer]) -> Progress:
        """Load networks, terms and optimizers from the last checkpoint, if there is one.

        Raises:
            UserError: If the checkpoint cannot be read or belongs to other networks.
        """
        if not self.last.exists():
            return Progress()
        state = checkpoint.load(self.last)
        try:
            self.distiller.load_state_dict(self._with_own_weights(state["distiller"], state.get("shares")))
            for optimizer, values in zip(optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(values)
            self.fabric.strategy.precision.load_state_dict(state["precision"])
            return Progress(**{each.name: state[each.name] for each in fields(Progress) if each.name in state})
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{self.last} does not fit this recipe's networks ({reason[:100]}); "
                "give another --run-dir, or delete the folder"
            ) from None

    def take_over_best(self, progress: Progress) -> str | None:
        """Set the best score of ``progress`` from the file of the best student, so that score and student match.

        Returns:
            Why the file cannot be used; None if it can, or if no step has been taken.
        """
        if progress.step == 0:
            return None
        progress.best_score, progress.best_step = None, 0
        if not self.best.exists():
            return f"{self.best} is missing"
        try:
            best = checkpoint.load(self.best, peek=True)
            if best["student"].keys() != self.distiller.student.state_dict().keys() or best["step"] > progress.step:
                return f"{self.best} holds another student"
            score = best.get(metric_of(best).key)
            if score is not None:
                progress.best_score, progress.best_step = float(score), best["step"]
        except UserError as error:
            return str(error).partition("; delete it")[0]
        except (KeyError, AttributeError, TypeError, ValueError):
            return f"{self.best} holds no student"
        return None

    def remove_what_is_left(self) -> bool:
        """Remove the student files that a run with a deleted checkpoint has left. Return True if there were any."""
        names = [self.best, *(self.folder / name for name in ("student.safetensors", "student.json"))]
        files = [file for file in names if file.exists()]
        if self.fabric.global_rank == 0:
            for file in files:
                file.unlink(missing_ok=True)
        return bool(files)

    def _shares(self) -> dict[str, float]:
        """Return the target share of each term with an automatic weight, by the term's name."""
        weights = {name: getattr(term, "weight", None) for name, term in self.distiller.terms.items()}
        return {name: weight.share for name, weight in weights.items() if isinstance(weight, AutoWeight)}

    def _with_own_weights(self, state: dict[str, Any], shares: dict[str, float] | None) -> dict[str, Any]:
        """Return a checkpoint's state without the measurements of automatic weights whose share has changed.

        This includes weights that were automatic and are now numbers, and the reverse. The Distiller's present values
        take the place of the measurements.
        """
        now = self._shares()
        old = now if shares is None else shares
        changed = tuple(f"terms.{name}.weight." for name in {*old, *now} if old.get(name) != now.get(name))
        same = {key: value for key, value in state.items() if not key.startswith(changed)}
        return {**same, **{key: value for key, value in self.distiller.state_dict().items() if key.startswith(changed)}}
