"""Steps of a run taken in memory, to measure what they cost."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from segdistill.data import training_loader
from segdistill.distillation.distiller import Distiller
from segdistill.evaluation.scoring import Score
from segdistill.training.checkpoints import Progress
from segdistill.training.console import Narrator
from segdistill.training.forms import use_forms
from segdistill.training.loop import Training
from segdistill.training.optimizer import build_optimizers
from segdistill.training.replayed import replay_teacher
from segdistill.training.session import Session
from segdistill.training.tuning import Choice, choose

# Batches on which the teacher is timed, if its answers are recorded. The first one does not count.
ASKED = 4


class Trial:
    """A run's steps as the run takes them: same networks, forms, loader, optimizers and checks.

    Args:
        session: The opened recipe. Its teacher has weights.
        console: The console to print the choice of forms on.
        before: The choices of earlier trials. Their forms are taken over where the settings are the same: a choice by
            noise would make equal methods unequal.
        records: Whether to record the answers of a replayed teacher, as the run would. Otherwise nothing is written:
            the teacher runs, and its time is subtracted from a step.

    Attributes:
        choice: The forms of the networks.
        once: Seconds before the first step: the teacher's answers to all crops, if it is replayed.
        share: Seconds of the first stage for each step of the student; 0 without a first stage.
    """

    def __init__(
        self, session: Session, console: Console, before: Sequence[Choice] = (), *, records: bool = True
    ) -> None:
        self._session, self._fabric = session, session.fabric
        train, distiller = session.recipe.train, session.build_trial()
        # Every process takes the times of the first one. Otherwise they would stop after different rounds.
        self.once: float = self._fabric.broadcast(recording_seconds(session, distiller))
        self.share: float = self._fabric.broadcast(first_stage_seconds(session, distiller))
        answers = replay_teacher(session, distiller, console) if records else None
        runs = session.crops() is not None and answers is None
        self._asked = train.accumulate * teacher_seconds(session, distiller, session.fabric.autocast) if runs else 0.0
        self.choice = choose(session, distiller, console, before)
        self._workers = use_forms(session, distiller, self.choice.forms)
        self._training = Training(
            fabric=self._fabric,
            distiller=distiller,
            stream=session.stream(answers),
            train=train,
            seed=session.recipe.seed,
            folder=Path(),
            validate=_never_scored,
            save_student=lambda _: None,
            narrator=Narrator(console, "trial"),
            answers=answers,
        )
        called: Any = torch.compile(distiller) if train.compile else distiller
        self._module, *self._optimizers = self._fabric.setup(called, *build_optimizers(distiller, train))
        self._progress = Progress()
        distiller.train()

    def seconds(self, steps: int) -> float:
        """Take steps, and return the seconds of one. Images that loader processes read ahead take no time of a step."""
        train, first = self._session.recipe.train, self._progress.step
        batches: Iterator[Any] = iter(
            training_loader(
                self._training.stream,
                train.batch_size // train.accumulate,
                start=first * train.accumulate,
                steps=(first + steps) * train.accumulate,
                workers=self._workers,
                rank=self._fabric.global_rank,
                world_size=self._fabric.world_size,
            )
        )
        if self._workers:
            batches = iter(list(batches))
        began = _work(self._fabric)
        for _ in range(steps):
            self._training.take_step(self._module, self._optimizers, batches, self._progress)
        seconds: float = self._fabric.broadcast((_work(self._fabric) - began) / steps - self._asked)
        return seconds


def flops(session: Session) -> tuple[float, float]:
    """Return the floating-point operations of one step, first stage included, and those before the first step.

    Counted are matrix products, convolutions and attention, forward and backward, as PyTorch counts them.
    """
    train, fabric, distiller = session.recipe.train, session.fabric, session.build_trial()
    batch = train.batch_size // train.accumulate
    images, labels = (tensor.to(fabric.device) for tensor in next(_batches(session, batch)))
    crops, part, once, share = session.crops(), None, 0.0, 0.0
    with fabric.autocast():
        if crops is not None:
            with FlopCounterMode(display=False) as counter:
                part = distiller.prepare(images, labels)
            once = counter.get_total_flops() / batch * len(crops) * crops.count
        if distiller.first_stage is not None:
            with FlopCounterMode(display=False) as counter:
                torch.autograd.backward(distiller.first_stage.objective(images, labels))
            share = distiller.first_stage.share * counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            distiller(images, labels, part).total.backward()
    return train.accumulate * (counter.get_total_flops() + share), once


def recording_seconds(session: Session, distiller: Distiller) -> float:
    """Return the seconds in which the teacher answers all crops, in all processes; 0 if it is not replayed."""
    if (crops := session.crops()) is None:
        return 0.0
    # Answers are recorded without autocast.
    one = teacher_seconds(session, distiller, nullcontext) / session.images_per_pass
    return one * len(crops) * crops.count / session.fabric.world_size


def teacher_seconds(
    session: Session, distiller: Distiller, precision: Callable[[], AbstractContextManager[Any]]
) -> float:
    """Return the seconds in which the teacher answers the images that this process has in one pass of a step."""

    def answer(images: torch.Tensor, labels: torch.Tensor) -> None:
        with precision():
            distiller.prepare(images, labels)

    return _seconds_of_pass(session, answer)


def first_stage_seconds(session: Session, distiller: Distiller) -> float:
    """Return the seconds of the first stage, divided by the number of the student's steps."""
    stage, train = distiller.first_stage, session.recipe.train
    if stage is None:
        return 0.0

    def learn(images: torch.Tensor, labels: torch.Tensor) -> None:
        with session.fabric.autocast():
            loss = stage.objective(images, labels)
        torch.autograd.backward(loss)

    return stage.share * train.accumulate * _seconds_of_pass(session, learn)


def _seconds_of_pass(session: Session, work: Callable[[torch.Tensor, torch.Tensor], None]) -> float:
    """Return the median seconds of work on the images that one process has in a pass. The first pass does not count."""
    seconds, device = [], session.fabric.device
    for images, labels in islice(_batches(session, session.images_per_pass), ASKED):
        began = _work(session.fabric)
        work(images.to(device), labels.to(device))
        seconds.append(_work(session.fabric) - began)
    return median(seconds[1:])


def now(fabric: Fabric) -> float:
    """Return the time after the device has finished its work."""
    if fabric.device.type == "cuda":
        torch.cuda.synchronize(fabric.device)
    return time.perf_counter()


def _work(fabric: Fabric) -> float:
    """Return the time, or the processor time on a CPU with one thread, which other work hardly changes."""
    if fabric.device.type == "cpu" and torch.get_num_threads() == 1:
        return time.process_time()
    return now(fabric)


def _batches(session: Session, batch: int) -> Any:
    """Return the first batches of a run, read in this process."""
    return ((images, labels) for images, labels, *_ in training_loader(session.stream(), batch, steps=ASKED))


def _never_scored(_: Any) -> Score:
    raise AssertionError("a trial takes no validation")
