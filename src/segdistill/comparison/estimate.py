"""Estimate of the time of a comparison, from a few measured steps of each method."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import nn

from segdistill.comparison.equal_budget import Equal, equalized
from segdistill.comparison.equal_record import decide, read_record
from segdistill.comparison.plan import Plan
from segdistill.comparison.preparation import check_inputs, open_session, unfinished
from segdistill.comparison.scoreboard import Scoreboard
from segdistill.comparison.shared_forms import SharedForms
from segdistill.data import ImageDataset, Layout, training_loader
from segdistill.distillation.modes import evaluating
from segdistill.evaluation.scoring import predict_like, scoring_transform
from segdistill.recipes.schema import Data, Evaluation, Train
from segdistill.reports.screen import screen_table
from segdistill.runs import checkpoint
from segdistill.training.console import clock, quiet
from segdistill.training.optimizer import build_optimizers, step_together
from segdistill.training.rehearsal import rehearse
from segdistill.training.replayed import ALREADY, size_line
from segdistill.training.session import Session
from segdistill.training.teacher_runs import check_teacher, teacher_runs
from segdistill.training.trial import first_stage_seconds, now, recording_seconds

STEPS, IMAGES = 6, 5


@dataclass(frozen=True)
class Cost:
    """Cost of the parts of a run, in seconds.

    Attributes:
        step: One optimizer step.
        image: Scoring the student on one image of the validation set.
        teacher_image: Scoring the teacher on one image; 0 without a teacher.
        first_stage: The whole first stage, in which parts of losses learn before the student.
        recording: The teacher's answers to all crops, if it is replayed: once for all runs, and no part of a step.
        replay: The line on the record of the answers; None if the teacher is not replayed.
    """

    step: float
    image: float
    teacher_image: float
    first_stage: float = 0.0
    recording: float = 0.0
    replay: str | None = None

    def seconds(self, train: Train, done: int, val: int, final: int) -> float:
        """Return the seconds that a run takes after its first ``done`` steps.

        Args:
            train: The training settings.
            done: Number of steps already taken.
            val: Number of images in the validation set, on which the teacher is scored once before training.
            final: Number of images in the split that results are reported on.
        """
        every = train.validate_every or max(1, train.iterations // 10)
        validations = len([step for step in range(done + 1, train.iterations) if step % every == 0]) + 1
        scored = validations * val + final
        before = (val + final) * self.teacher_image + (0.0 if done else self.first_stage)
        return before + (train.iterations - done) * self.step + scored * self.image


def estimate(
    plan: Plan, folder: Path, *, console: Console, layout: Layout | None = None, equal: Equal | None = None
) -> None:
    """Print the state of each run and the time that the unfinished ones will take. Nothing is written.

    Args:
        plan: The plan at equal steps.
        folder: The folder of the comparison.
        console: The console to print on.
        layout: The data set's files, if they are already scanned.
        equal: What all methods have in common instead of the number of steps. Steps that are not decided yet are
            measured now, and again by the comparison.

    Raises:
        UserError: If a step would fail, or the folder holds something else.
    """
    board = Scoreboard(folder, plan)
    session = open_session(board.shared, layout, folder.parent)
    check_inputs(session, board, plan, equal, console)
    if equal is not None:
        record = decide(plan, equal, read_record(folder, equal, plan), session, SharedForms(folder), None, console)
        plan = equalized(plan, equal, record.steps)
    waiting = {run.folder for run in unfinished(plan, folder)}
    for run in plan.runs:
        check_teacher(run.recipe)
    teachers = teacher_runs(board.shared) if any(run.recipe.distils for run in plan.runs) else {}
    todo = [*teachers.values(), *((run.folder, run.recipe) for run in plan.runs)]
    waiting |= {name for name, _ in todo if not (folder / name / "result.json").exists()}
    sizes = [len(session.dataset(split)) for split in ("val", session.final_split)]
    methods = {run.folder: run.method for run in plan.runs}
    costs: dict[str, Cost] = {}
    table = screen_table("run", "state", "steps left", "s per step", "time")
    total = 0.0
    for name, recipe in todo:
        if name not in waiting:
            table.add_row(name, "finished", "0", "-", "-")
            continue
        method = methods.get(name, name)
        if method not in costs:
            with quiet():
                planned = session.variant(recipe)
                rehearse(planned)
                costs[method] = measure(planned)
        cost = costs[method]
        done = steps_done(folder / name)
        seconds = cost.seconds(recipe.train, done, *sizes)
        total += seconds
        left = recipe.train.iterations - done
        table.add_row(name, f"at step {done}" if done else "not started", str(left), f"{cost.step:.3f}", clock(seconds))
    console.print(table)
    # The last method, because its line has the features of all methods.
    if replayed := next((cost for cost in reversed(costs.values()) if cost.replay), None):
        console.print(replayed.replay, soft_wrap=True)
        if ALREADY not in str(replayed.replay):
            total += replayed.recording
            console.print(f"the teacher answers all crops once, in {clock(replayed.recording)}", soft_wrap=True)
    console.print(f"{len(waiting)} of {len(todo)} runs to do, {total / 3600:.2f} hours; nothing was written")


def steps_done(folder: Path) -> int:
    """Return the step of a run's checkpoint; 0 if there is none."""
    last = folder / "checkpoints" / "last.pt"
    return int(checkpoint.load(last, peek=True)["step"]) if last.exists() else 0


def measure(session: Session) -> Cost:
    """Return the cost of a run, measured on a few trial steps and images. The first step and image are not counted."""
    recipe, fabric, val_set = session.recipe, session.fabric, session.dataset("val")
    distiller = session.build_trial()
    teacher = distiller.teacher
    optimizers = build_optimizers(distiller, recipe.train)
    parts = recipe.train.accumulate
    loader = training_loader(
        session.stream(), session.images_per_pass, steps=STEPS * parts, workers=recipe.data.loaders
    )
    is_replayed = session.crops() is not None
    seconds, began = [], now(fabric)
    for number, (images, labels) in enumerate(loader, start=1):
        images, labels = images.to(fabric.device), labels.to(fabric.device)
        with fabric.autocast():
            part = None
            if is_replayed:  # the answers are recorded before the first step
                asked = now(fabric)
                part = distiller.prepare(images, labels)
                began += now(fabric) - asked
            out = distiller(images, labels, part)
        out.total.backward()
        if number % parts == 0:
            step_together(optimizers, None)
            seconds.append(now(fabric) - began)
            began = now(fabric)
    return Cost(
        step=median(seconds[1:]),  # the first step includes one-time setup
        image=_image_seconds(distiller.student, val_set, fabric, recipe.data, recipe.evaluation),
        teacher_image=0.0
        if teacher is None
        else _image_seconds(teacher, val_set, fabric, recipe.data, recipe.evaluation),
        first_stage=first_stage_seconds(session, distiller) * recipe.train.iterations,
        recording=recording_seconds(session, distiller),
        replay=size_line(session, distiller),
    )


@torch.no_grad()
def _image_seconds(
    network: nn.Module, dataset: ImageDataset, fabric: Fabric, data: Data, protocol: Evaluation
) -> float:
    seconds = []
    transform = scoring_transform(data, dataset.task, protocol)
    with evaluating(network):
        for index in range(min(IMAGES, len(dataset))):
            began = now(fabric)
            image, labels = transform(*dataset[index])
            with fabric.autocast():
                predict_like(network, image[None].to(fabric.device), labels[None], protocol)
            seconds.append(now(fabric) - began)
    return median(seconds[1:] or seconds)
