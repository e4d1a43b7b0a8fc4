"""Training of one network in a folder: a student, distilled or alone, or a teacher."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from segdistill import models
from segdistill.data import SegmentationDataset
from segdistill.data.layouts.recorded import SPLIT_FILE
from segdistill.distillation.distiller import Distiller
from segdistill.evaluation.scoring import Score
from segdistill.replay.answers import Answers
from segdistill.reports.drawing import is_whole
from segdistill.runs import lock
from segdistill.runs.image_counts import write_image_counts
from segdistill.runs.inputs import Inputs, describe_inputs
from segdistill.runs.records import write_json
from segdistill.runs.run_folder import RunFolder
from segdistill.system.processes import is_first_process
from segdistill.training import run_pictures
from segdistill.training.checkpoints import Progress
from segdistill.training.console import Narrator, clock
from segdistill.training.from_run import with_keys_of_run
from segdistill.training.loop import Training
from segdistill.training.repeat_threads import repeat_threads
from segdistill.training.replayed import replay_teacher
from segdistill.training.score_record import score_record
from segdistill.training.session import Session
from segdistill.training.tuning import Choice, tune


def train_network(
    session: Session,
    folder: Path,
    *,
    console: Console,
    label: str,
    accepts_changes: bool = False,
    before: Sequence[Choice] = (),
) -> dict[str, Any]:
    """Train the recipe's student in ``folder`` and return its result. Resume a started run; keep a finished one.

    Args:
        session: The opened recipe. Its teacher must have weights. Its baseline is not trained.
        folder: The run's folder.
        console: The console to print on.
        label: The name of the network in the printed lines.
        accepts_changes: Resume with the changes that :class:`RunFolder` permits. A finished run is left unchanged.
        before: The choices of forms of the runs with which this one is compared; see :func:`tune`.

    Raises:
        UserError: At a mistake that the user can correct.
    """
    lock.check_free(folder)
    run_folder = RunFolder(folder, session.recipe, accepts_changes=accepts_changes)
    if run_folder.result is not None:
        for change in run_folder.changes:
            console.print(f"{label}: finished, and left unchanged; {change}", soft_wrap=True)
        _draw_samples(session, folder)
        return run_folder.result
    with lock.held(folder):
        return _train(session, run_folder, console, label, before)


def _train(
    session: Session, run_folder: RunFolder, console: Console, label: str, before: Sequence[Choice]
) -> dict[str, Any]:
    folder, recipe = run_folder.path, session.recipe
    repeat_threads(folder, console, label)
    sets = {split: session.dataset(split) for split in ("train", "val")}
    inputs = describe_inputs(recipe, session.teacher_section, sets)
    for change in run_folder.check_inputs(inputs):
        console.print(f"{label}: {change}", soft_wrap=True)
    session.prepare_cache(lambda line: console.print(line, soft_wrap=True))
    teacher = session.teacher()
    if teacher is not None:
        score = teacher.checked_score()
        console.print(f"teacher: {score.value:.1%} {score.metric.name} on val before training")
    distiller = session.build_distiller()
    for change in run_folder.changes:
        console.print(f"{label}: {change}", soft_wrap=True)
    run_folder.claim()
    if recipe.data.split is not None and session.fabric.global_rank == 0:
        names = {split: [data.name(i) for i in range(len(data))] for split, data in sets.items()}
        write_json(folder / SPLIT_FILE, names)
    _draw_samples(session, folder)
    answers = replay_teacher(session, distiller, console)
    workers = tune(session, distiller, folder, console, is_new=not run_folder.has_begun, before=before)
    progress = _training(session, distiller, folder, Narrator(console, label), inputs, answers, workers).run()
    split = session.final_split
    score = session.evaluate(distiller.student, split, "the student", keeps_images=True)
    result = _result(session, distiller, score, progress)
    if changes := run_folder.recorded_changes:
        result["changes"] = changes
    if teacher is not None:
        result["teacher"] = teacher.record(split)
    if session.fabric.global_rank == 0:
        if score.images is not None:
            write_image_counts(folder, score.images)
        write_json(folder / "result.json", result)
    session.fabric.barrier()
    console.print(
        f"{label}: {score.value:.1%} {score.metric.name} on {split}, best on val at step {progress.best_step}, "
        f"{clock(progress.seconds)}"
    )
    return result


def _training(
    session: Session,
    distiller: Distiller,
    folder: Path,
    narrator: Narrator,
    inputs: Inputs,
    answers: Answers | None,
    workers: int,
) -> Training:
    session.reset_precision()
    return Training(
        fabric=session.fabric,
        distiller=distiller,
        stream=session.stream(answers),
        train=session.recipe.train,
        seed=session.recipe.seed,
        folder=folder,
        validate=lambda student: session.evaluate(student, "val", "the student"),
        save_student=_save_to(folder, session),
        narrator=narrator,
        workers=workers,
        inputs=inputs,
        answers=answers,
    )


def _save_to(folder: Path, session: Session) -> Callable[[nn.Module], None]:
    network, dataset = with_keys_of_run(session.recipe.student, strict=False), session.dataset("train")
    classes, protocol = dataset.classes, session.recipe.evaluation
    sizes: dict[str, object] = {"scale": session.recipe.data.scale}
    if dataset.task == "segmentation":  # of the whole protocol, what decides which images the network gets
        sizes |= {key: getattr(protocol, key) for key in ("short_side", "window", "stride")}
    extra = {"palette": classes.palette, "void": classes.void} | {key: size for key, size in sizes.items() if size}

    def save(student: nn.Module) -> None:
        models.save_student(
            student,
            folder,
            name=network.model,
            num_classes=len(classes),
            options=network.options,
            classes=classes.names,
            extra=extra,
        )

    return save


def _result(session: Session, distiller: Distiller, score: Score, progress: Progress) -> dict[str, Any]:
    recipe, split, key = session.recipe, session.final_split, score.metric.key
    teacher = session.teacher()
    return {
        **score_record(score, distiller.student, session.dataset(split), recipe.data, split, recipe.evaluation),
        "iterations": recipe.train.iterations,
        "seconds": round(progress.seconds, 1),
        "seed": recipe.seed,
        "method": recipe.label,
        "best_step": progress.best_step,
        f"val_{key}": progress.best_score,
        f"teacher_{key}": None if teacher is None else teacher.score("val").value,
    }


def _draw_samples(session: Session, folder: Path) -> None:
    """Draw the first training crops, unless the picture exists."""
    file = folder / "figures" / "training_samples.png"
    if not is_first_process() or is_whole(file):
        return
    dataset = session.dataset("train")
    if isinstance(dataset, SegmentationDataset):
        run_pictures.training_samples(session.stream(), dataset.classes, file)
