"""Training of the first stage: parts of losses (mask tokens, an autoencoder) that learn before the student."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from segdistill.distillation.distiller import Distiller
from segdistill.distillation.first_stage import FirstStage
from segdistill.distillation.parts import Part
from segdistill.errors import Stopped, UserError
from segdistill.evaluation.finite import are_finite
from segdistill.runs import checkpoint
from segdistill.runs.inputs import Inputs
from segdistill.runs.records import Metrics
from segdistill.system.interrupt import deferred_interrupt
from segdistill.system.memory import enough_memory
from segdistill.training.blame import gradients
from segdistill.training.console import Narrator
from segdistill.training.interrupt import on_any
from segdistill.training.read_parts import read_parts
from segdistill.training.seeding import seed_step


@dataclass(frozen=True)
class FirstStageTraining:
    """Trainer of the first stage on the teacher's features.

    The student is not run. The steps of the stage are in addition to the student's.

    Attributes:
        fabric: The engine.
        distiller: The Distiller, not yet wrapped for several processes.
        stage: The first stage of the Distiller.
        prepare: Returns the teacher's features and the labels of a batch; see :meth:`segdistill.Distiller.prepare`.
        batches: Returns the run's batches from a step on. The stage sees the images of the student's first steps.
        steps: Number of steps of the stage.
        seed: The run's seed.
        folder: The run's folder.
        narrator: Shows the progress.
        log_every: Steps between two lines.
        save_every: Steps between two checkpoints.
        inputs: The record of data and weights that the checkpoint stores.
    """

    fabric: Fabric
    distiller: Distiller
    stage: FirstStage
    prepare: Callable[..., Part]
    batches: Callable[[int], Iterator[Any]]
    steps: int
    seed: int
    folder: Path
    narrator: Narrator
    log_every: int
    save_every: int
    inputs: Inputs

    @property
    def file(self) -> Path:
        """The checkpoint of the stage, finished or not."""
        return self.folder / "checkpoints" / "first_stage.pt"

    def run(self) -> None:
        """Take the steps that remain, from the stage's checkpoint if there is one.

        Raises:
            UserError: If the objective is not finite.
            Stopped: At Ctrl-C, SIGTERM or SIGHUP, after a checkpoint was written.
        """
        optimizers = self.stage.optimizers()
        start = self._resume(optimizers)
        if start == self.steps:
            return
        is_first = self.fabric.global_rank == 0
        metrics = Metrics(self.folder, step=0, tensorboard=False, until={"first_stage": start}) if is_first else None
        if is_first:
            self.narrator.begin(start, self.steps)
        batches = self.batches(start)
        self.distiller.train()
        try:
            with deferred_interrupt() as interrupted:
                for step in range(start, self.steps):
                    parts = read_parts(self.fabric, lambda: next(batches))
                    if isinstance(parts, Exception):  # the step has not begun, so the state can be saved
                        if step > start:
                            self._save(optimizers, step)
                        raise parts
                    with enough_memory(f"step {step + 1} of the first stage", "raise train.accumulate"):
                        objective = self._take_step(optimizers, parts, step)
                    last, stops = step + 1 == self.steps, on_any(self.fabric, interrupted())
                    tells = step == start or (step + 1) % self.log_every == 0 or last or stops
                    saves = (step + 1) % self.save_every == 0 or last or stops
                    if saves:
                        self._save(optimizers, step + 1)
                    if tells and metrics is not None:
                        value = float(objective)
                        metrics.log(step + 1, "first_stage", objective=value)
                        self.narrator.step(step + 1, {"objective": value}, None)
                    if stops:
                        raise Stopped
        finally:
            self.narrator.close()

    def _take_step(self, optimizers: dict[str, torch.optim.Optimizer], parts: Sequence[Any], step: int) -> torch.Tensor:
        seed_step(self.seed, step - self.steps, self.fabric.global_rank)
        self.stage.set_learning_rates(optimizers, step / self.steps)
        objective = torch.zeros((), device=self.fabric.device)
        for part in parts:
            images, labels, *stored = (tensor.to(self.fabric.device, non_blocking=True) for tensor in part)
            with self.fabric.autocast():
                value = self.stage.objective(images, labels, self.prepare(images, labels, *stored)) / len(parts)
            torch.autograd.backward(value)
            objective += value.detach()
        self._check_finite(objective, step + 1)
        for optimizer in optimizers.values():
            if self.fabric.world_size > 1:
                self._average(optimizer)
            optimizer.step()
            optimizer.zero_grad()
        return objective

    def _check_finite(self, objective: torch.Tensor, step: int) -> None:
        """Raise a UserError that names the first term to blame, before the step changes any parameter."""
        by_term = {name: gradients(parameters) for name, parameters in self.stage.parameters().items()}
        is_finite = are_finite([objective, *(each for tensors in by_term.values() for each in tensors)])
        if not on_any(self.fabric, not is_finite):
            return
        bad = (name for name, tensors in by_term.items() if tensors and not are_finite(tensors))
        name = next(bad, next(iter(by_term)))
        value = float(objective)
        problem = "has a gradient that is not finite" if math.isfinite(value) else f"is {value}"
        raise UserError(
            f"the inner objective of term '{name}' {problem} at step {step} of the first stage; change or remove the "
            "term, and give another --run-dir"
        )

    def _average(self, optimizer: torch.optim.Optimizer) -> None:
        """Average the gradients over the processes, as DDP does."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad = self.fabric.all_reduce(parameter.grad, reduce_op="mean")

    def _save(self, optimizers: dict[str, torch.optim.Optimizer], step: int) -> None:
        if self.fabric.global_rank == 0:
            states = {name: optimizer.state_dict() for name, optimizer in optimizers.items()}
            state = {"step": step, "terms": self.distiller.terms.state_dict(), "optimizers": states}
            checkpoint.save({**state, "inputs": self.inputs}, self.file)

    def _resume(self, optimizers: dict[str, torch.optim.Optimizer]) -> int:
        if not self.file.exists():
            return 0
        state = checkpoint.load(self.file)
        try:
            self.distiller.terms.load_state_dict(state["terms"])
            for name, optimizer in optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise UserError(
                f"{self.file} does not fit this recipe's terms ({str(error).splitlines()[0][:100]}); delete it"
            ) from None
        return int(state["step"])
