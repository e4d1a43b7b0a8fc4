"""Training loop: counted in iterations, resumable bit for bit, the same with and without a teacher."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import nn

from segdistill.data import TrainingStream, training_loader
from segdistill.distillation.distiller import Distiller
from segdistill.distillation.first_stage import FirstStage
from segdistill.distillation.parts import Part, whole_step
from segdistill.errors import Stopped, UserError
from segdistill.evaluation.finite import not_finite
from segdistill.evaluation.scoring import Score
from segdistill.outputs import DistillerOutput
from segdistill.recipes.schema import Train
from segdistill.replay.answers import Answers
from segdistill.runs import checkpoint
from segdistill.runs.inputs import Inputs
from segdistill.runs.records import Metrics
from segdistill.system.interrupt import deferred_interrupt
from segdistill.system.memory import enough_memory
from segdistill.training.blame import blame
from segdistill.training.checkpoints import Checkpoints, Progress
from segdistill.training.console import Narrator
from segdistill.training.first_stage import FirstStageTraining
from segdistill.training.interrupt import on_any
from segdistill.training.optimizer import (
    build_optimizers,
    clip_gradients,
    learning_rate,
    set_learning_rate,
    step_together,
)
from segdistill.training.read_parts import read_parts
from segdistill.training.seeding import seed_step

# A term may have nothing to compare in one step (no pixel that the teacher predicts correctly). If it sends no
# gradient in this number of steps in a row, the training stops with an error.
PATIENCE = 5

# Number of steps in a row that float16 may skip. The loss scale has then fallen from 2^16 to 2^-14.
SKIPS = 30

TAKES_LESS_MEMORY = "raise train.accumulate, so that it takes its images in more parts, or give train.recompute=true"


@dataclass(frozen=True)
class Training:
    """Training of one network.

    Attributes:
        fabric: The engine: device, precision, processes.
        distiller: The Distiller to train, on the engine's device.
        stream: The training data by position in the run.
        train: Iterations, optimizer, precision, intervals.
        seed: The seed of the run. All random numbers of step k are drawn from (seed, k, process).
        folder: The run's folder.
        validate: Scores the student on val.
        save_student: Writes the student alone.
        narrator: Shows the progress.
        workers: Number of loader processes; 0 loads in this process.
        inputs: The record of data and weights that the checkpoints store.
        answers: The recorded answers of the teacher, which the stream then yields too; None if the teacher runs.
    """

    fabric: Fabric
    distiller: Distiller
    stream: TrainingStream
    train: Train
    seed: int
    folder: Path
    validate: Callable[[nn.Module], Score]
    save_student: Callable[[nn.Module], None]
    narrator: Narrator
    workers: int = 0
    inputs: Inputs = field(default_factory=dict)
    answers: Answers | None = None

    @property
    def kept(self) -> Checkpoints:
        """The checkpoints on the disk."""
        return Checkpoints(self.folder, self.distiller, self.fabric, self.inputs, self.save_student)

    def run(self) -> Progress:
        """Train to the last iteration, from the last checkpoint if there is one; then load the best student.

        Raises:
            UserError: If a term sends the student no gradient, or a loss is not finite. The message names the term.
            Stopped: At Ctrl-C, SIGTERM or SIGHUP, after a checkpoint was written.
        """
        kept, label, stage = self.kept, self.narrator.label, self.distiller.first_stage
        if not kept.last.exists():
            if kept.remove_what_is_left():
                self.narrator.line(f"{label}: no {kept.last} to resume from; starting again from step 0")
            if stage is not None:
                self._first_stage(stage).run()
        if stage is not None:
            stage.finish()
        optimizers = build_optimizers(self.distiller, self.train)
        progress = kept.resume(optimizers)
        if lost := kept.take_over_best(progress):
            self.narrator.line(f"{label}: {lost}; the best student is chosen again, from step {progress.step} on")
        # A run that was stopped during a validation has a checkpoint from before it: validate this step again.
        is_chosen = progress.step == 0 or not (lost or self._is_due(progress.step))
        called: Any = torch.compile(self.distiller) if self.train.compile else self.distiller
        module, *wrapped = self.fabric.setup(called, *optimizers)
        self._steps(module, wrapped, progress, is_chosen=is_chosen)
        self.fabric.barrier()  # wait until the first process has written the best student
        self.distiller.student.load_state_dict(checkpoint.load(kept.best)["student"])
        if self._is_first:  # again, because the process may have been killed between the writes of the two files
            self.save_student(self.distiller.student)
        return progress

    def _steps(self, module: _FabricModule, optimizers: Sequence[Any], progress: Progress, *, is_chosen: bool) -> None:
        """Take the steps that remain. ``is_chosen`` is False if the last step is still to be validated."""
        train, distiller, first = self.train, self.distiller, progress.step
        metrics = self._open_metrics(progress, is_chosen) if self._is_first else None
        if self._is_first:
            self.narrator.begin(first, train.iterations)
        batches = self._batches(first)
        distiller.train()
        began = time.monotonic() - progress.seconds
        try:
            with deferred_interrupt() as interrupted:
                if not is_chosen:
                    self._validate(progress, metrics)
                    if on_any(self.fabric, interrupted()):
                        raise Stopped
                while progress.step < train.iterations:
                    parts = read_parts(self.fabric, lambda: list(islice(batches, train.accumulate)))
                    if isinstance(parts, Exception):  # the step has not begun, so the state can be saved
                        if progress.step > first:
                            self._save(optimizers, progress)
                        raise parts
                    with enough_memory(f"step {progress.step + 1}", TAKES_LESS_MEMORY):
                        out = self.take_step(module, optimizers, iter(parts), progress)
                    progress.seconds = time.monotonic() - began
                    if out.gradients:
                        self._check_gradients(out, progress, metrics)
                    step, last = progress.step, progress.step == train.iterations
                    tells = step == 1 or step % train.log_every == 0 or last
                    due, stops = self._is_due(step), on_any(self.fabric, interrupted())
                    saves = due or stops or step % (train.save_every or self._every) == 0
                    if saves:  # before validation, because the run may be killed while it validates
                        self._save(optimizers, progress)
                    if tells:
                        self._log(out, progress, metrics)
                    if due and not stops:
                        self._validate(progress, metrics)
                        progress.seconds = time.monotonic() - began
                        stops = on_any(self.fabric, interrupted())
                    if stops:
                        raise Stopped
        finally:
            self.narrator.close()
            if metrics is not None:
                metrics.close()

    @property
    def _every(self) -> int:
        return self.train.validate_every or max(1, self.train.iterations // 10)

    def _is_due(self, step: int) -> bool:
        """Return True if the student is validated after this step."""
        return step % self._every == 0 or step == self.train.iterations

    def _open_metrics(self, progress: Progress, is_chosen: bool) -> Metrics:
        until = {"val": progress.step - (not is_chosen), "first_stage": math.inf}
        return Metrics(self.folder, step=progress.step, tensorboard=self.train.tensorboard, until=until)

    def _first_stage(self, stage: FirstStage) -> FirstStageTraining:
        return FirstStageTraining(
            fabric=self.fabric,
            distiller=self.distiller,
            stage=stage,
            prepare=self._part,
            batches=self._first_stage_batches,
            steps=math.ceil(stage.share * self.train.iterations),
            seed=self.seed,
            folder=self.folder,
            narrator=Narrator(self.narrator.console, f"{self.narrator.label}, first stage"),
            log_every=self.train.log_every,
            save_every=self.train.save_every or self._every,
            inputs=self.inputs,
        )

    @property
    def _is_first(self) -> bool:
        return self.fabric.global_rank == 0

    def _batches(self, step: int) -> Iterator[Any]:
        parts = self.train.accumulate
        loader = training_loader(
            self.stream,
            batch_size=self.train.batch_size // parts,
            start=step * parts,
            steps=self.train.iterations * parts,
            workers=self.workers,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
        )
        return iter(loader)

    def _first_stage_batches(self, step: int) -> Iterator[Any]:
        """Yield the batches of each step from ``step`` on. After the run's last step, start again at its first."""
        while True:
            step %= self.train.iterations
            batches = self._batches(step)
            while parts := list(islice(batches, self.train.accumulate)):
                yield parts
            step = 0

    def take_step(
        self, module: _FabricModule, optimizers: Sequence[Any], batches: Iterator[Any], progress: Progress
    ) -> DistillerOutput:
        """Take one step of every optimizer, the student's first, and return the output of the whole step."""
        step, count = progress.step, self.train.accumulate
        seed_step(self.seed, step, self.fabric.global_rank)
        set_learning_rate(optimizers[0], learning_rate(self.train, step))
        self.distiller.progress = step / max(1, self.train.iterations - 1)
        read = list(islice(batches, count))
        todo = [[tensor.to(self.fabric.device, non_blocking=True) for tensor in part] for part in read]
        parts = self._parts(todo)
        outs: list[DistillerOutput] = []
        while todo:  # pop each part, so that its memory is freed
            (images, labels, *_), part = todo.pop(0), parts.pop(0)
            self.distiller.measures_gradients = not todo and (step == 0 or bool(progress.silent))
            with self.fabric.no_backward_sync(module, enabled=bool(todo)):
                out: DistillerOutput = module(images, labels, part)
                self.fabric.backward(out.total)
            outs.append(out if part is None else part.of_whole(out))
        whole = outs[0] if part is None else whole_step(outs)
        self._check_finite(whole, read, step + 1)
        clip_gradients(self.distiller, optimizers[0], self.train, self._scaler)
        scale = self._scaler.get_scale() if self._scaler else 0.0
        step_together(optimizers, self._scaler)
        progress.step = step + 1
        if self._scaler:
            self._count_skipped(scale, progress)
        return whole

    def _parts(self, batches: Sequence[Sequence[torch.Tensor]]) -> list[Part | None]:
        """Return the parts of a step with their weights; None for a step of one part, which needs no weight."""
        is_whole = len(batches) == self.fabric.world_size == 1
        if is_whole and self.answers is None:
            return [None]
        with self.fabric.autocast():
            parts = [self._part(*batch) for batch in batches]
            if not is_whole:
                self.distiller.share_out(parts)
        return [*parts]

    def _part(self, images: torch.Tensor, labels: torch.Tensor, *stored: torch.Tensor) -> Part:
        """Return the part of a batch, with the stored answers of the teacher if there are any."""
        teacher = None if self.answers is None else self.answers.decoded(stored)
        return self.distiller.prepare(images, labels, teacher)

    def _check_gradients(self, out: DistillerOutput, progress: Progress, metrics: Metrics | None) -> None:
        """Log each term's share of the gradient at the student. Raise a UserError for a term that sends none."""
        if metrics is not None and progress.step == 1:
            metrics.log(1, "gradient_share", **out.gradient_shares)
        for name, norm in out.gradients.items():
            if norm != 0:
                progress.silent.pop(name, None)
                continue
            progress.silent[name] = progress.silent.get(name, 0) + 1
            if not out.terms[name].requires_grad or progress.silent[name] >= PATIENCE:
                value = float(out.terms[name].detach())
                raise UserError(
                    f"term '{name}' sends no gradient to the student (value {value:.4g}): its loss does not depend on "
                    "the student's feature, or never finds a pixel to compare; change or remove the term"
                )

    def _check_finite(self, out: DistillerOutput, batches: Sequence[Sequence[torch.Tensor]], step: int) -> None:
        """Raise a UserError for a step that is not finite, before it changes the weights."""
        wrong = blame(
            self.distiller,
            out,
            batches,
            self.fabric,
            step=step,
            scaled=self._scaler is not None,
            seed=lambda: seed_step(self.seed, step - 1, self.fabric.global_rank),
            part=lambda *batch: None if self.answers is None else self._part(*batch),
        )
        if wrong is not None:
            name, problem = wrong
            raise UserError(f"{problem}; {self._remedy(name)}")

    def _count_skipped(self, scale: float, progress: Progress) -> None:
        """Count the steps skipped in a row. Raise a UserError if float16 gradients overflow at every loss scale."""
        assert self._scaler is not None
        progress.skipped = progress.skipped + 1 if self._scaler.get_scale() < scale else 0
        if progress.skipped >= SKIPS:
            raise UserError(
                f"the gradients of the last {SKIPS} steps are not finite in float16, at step {progress.step}; set "
                f"train.precision=bf16-mixed or 32-true, or {self._remedy('NAME')}"
            )

    def _remedy(self, term: str) -> str:
        change = f"lower train.learning_rate or terms.{term}.weight, or set train.clip"
        last = self.kept.last
        if not last.exists():
            return f"{change}, and run the command again (nothing is saved yet)"
        step = checkpoint.load(last, peek=True)["step"]
        return f"{change}, and resume from step {step} ({last}) with --resume (an option of distill and train)"

    @property
    def _scaler(self) -> torch.amp.GradScaler | None:
        """The scaler of float16 gradients; None for other precisions."""
        return getattr(self.fabric.strategy.precision, "scaler", None)

    def _log(self, out: DistillerOutput, progress: Progress, metrics: Metrics | None) -> None:
        if metrics is None:
            return
        values = {
            "loss": float(out.total.detach()),
            **{name: float(value.detach()) for name, value in out.terms.items()},
        }
        inner = {f"own/{name}": float(value.detach()) for name, value in out.inner_objectives.items()}
        weights = {f"weight/{name}": weight for name, weight in out.weights.items()}
        rate = learning_rate(self.train, progress.step - 1)
        metrics.log(progress.step, "train", **values, **inner, **weights, learning_rate=rate)
        self.narrator.step(progress.step, values, progress.best_score)

    def _validate(self, progress: Progress, metrics: Metrics | None) -> None:
        with self.narrator.pause() if self._is_first else nullcontext():
            score = self.validate(self.distiller.student)
        if progress.best_score is None or score.value > progress.best_score:
            progress.best_score, progress.best_step = score.value, progress.step
            if self._is_first:
                self.kept.save_best(progress.step, {score.metric.key: score.value})
        if metrics is not None:
            metric = score.metric
            classes = {f"{metric.classes}/{name}": value for name, value in score.classes.items()}
            metrics.log(progress.step, "val", **{metric.key: score.value}, **score.more, **classes)

    def _save(self, optimizers: Sequence[Any], progress: Progress) -> None:
        if name := not_finite(self.distiller):
            raise UserError(f"'{name}' is not finite after step {progress.step}; {self._remedy('NAME')}")
        if self._is_first:
            self.kept.save(optimizers, progress)
