"""One student: built, trained with or without a teacher, scored, recorded in a folder of its own."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import nn

from segdistill import models
from segdistill.data import SegmentationDataset, TrainingStream
from segdistill.distillation.build import build_terms
from segdistill.distillation.distiller import Distiller
from segdistill.distillation.facts import NetworkPair
from segdistill.errors import UserError
from segdistill.evaluation.cost import count_flops, count_parameters
from segdistill.evaluation.finite import check_loaded
from segdistill.evaluation.scoring import ImageSet, Score, evaluate
from segdistill.recipes import Recipe, load
from segdistill.recipes.schema import Data, Teacher, Train
from segdistill.reports.drawing import is_whole
from segdistill.runs import lock
from segdistill.runs.inputs import Inputs, describe_inputs
from segdistill.runs.json_files import read_environment
from segdistill.runs.metric import metric_of, read_result
from segdistill.runs.records import write_json
from segdistill.runs.run_folder import RunFolder
from segdistill.system.processes import are_several, is_first_process
from segdistill.training import run_pictures
from segdistill.training.build import (
    build_dataset,
    build_network,
    build_teacher,
    build_transform,
    final_split,
)
from segdistill.training.checkpoints import Progress
from segdistill.training.console import Narrator, clock
from segdistill.training.loop import Training

COSTS = ("split", "params", "flops", "flops_size")


def make_fabric(train: Train) -> Fabric:
    """Start the engine: device, precision, processes.

    Raises:
        UserError: The machine has no such device, or not so many; a length that is not in steps.
    """
    if train.epochs is not None or train.budget != 1:
        raise UserError("train.epochs and train.budget are put into steps by segdistill.recipes.load; give iterations")
    if isinstance(train.devices, int) and train.devices > 1 and not are_several():
        # The processes that are started here share the threads of this one; they read this variable.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // train.devices)))
    try:
        fabric = Fabric(
            accelerator=train.accelerator, devices=train.devices, num_nodes=train.nodes, precision=train.precision
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"train.accelerator={train.accelerator}, train.devices={train.devices} cannot be had here: {reason}"
        ) from None
    fabric.launch()
    return fabric


def build_distiller(recipe: Recipe, dataset: ImageSet, teacher: nn.Module | None, fabric: Fabric) -> Distiller:
    """Build the student and join it with its teacher and terms, on the engine's device.

    Raises:
        UserError: See :func:`build_network`, :func:`build_terms` and :class:`Distiller`.
    """
    torch.manual_seed(recipe.seed)  # the same first weights with every method
    student = build_network(recipe.student, dataset.classes, strict=False).to(fabric.device)
    check_loaded(student, "the student's")
    if teacher is not None:
        check_loaded(teacher, "the teacher's")
    if fabric.world_size > 1 and fabric.device.type == "cuda":  # before the Distiller, whose hooks it would drop
        student = nn.SyncBatchNorm.convert_sync_batchnorm(student)  # type: ignore[no-untyped-call]
    probe = torch.zeros(1, 3, *recipe.data.crop)
    void = dataset.ignore_index
    pair = NetworkPair(student, teacher, len(dataset.classes), probe.to(fabric.device), void)
    terms = build_terms(recipe.term_settings, pair)
    return Distiller(student, teacher, terms, probe=probe, ignore_index=void).to(fabric.device)


def build_trial(recipe: Recipe, dataset: ImageSet, fabric: Fabric) -> Distiller:
    """Build a run's Distiller to take a few steps with and forget; its teacher may have yet to be trained."""
    teacher = None
    if recipe.distils and recipe.teacher is not None:
        teacher = fabric.to_device(build_teacher(recipe.teacher, dataset.classes))
    return build_distiller(recipe, dataset, teacher, fabric).train()


def run_student(
    recipe: Recipe,
    folder: Path,
    *,
    console: Console,
    label: str,
    teacher: Teacher | None = None,
    accepts_changes: bool = False,
) -> dict[str, Any]:
    """Train the recipe's student in ``folder`` and return its result; go on, or do nothing, where it was begun.

    Args:
        recipe: What to train on what; its own teacher and baseline are not looked at.
        folder: The run's folder.
        console: Where to tell of it.
        label: What to call this student there.
        teacher: What it is distilled from, with weights; None trains it on labels alone.
        accepts_changes: Go on with what :class:`RunFolder` lets be changed on the way; a finished run stays as it is.

    Raises:
        UserError: Whatever the user can mend.
    """
    lock.check_free(folder)
    place = RunFolder(folder, recipe, accepts_changes=accepts_changes)
    if place.result is not None:
        for change in place.changes:
            console.print(f"{label}: finished, and stays as it is; {change}", soft_wrap=True)
        _draw_samples(recipe, folder)
        return place.result
    with lock.held(folder):
        return _run(recipe, place, console, label, teacher)


def repeat_threads(folder: Path, console: Console, label: str) -> None:
    """Go on with as many threads as the run was begun with: sums in another order differ in their last bits.

    A run whose teacher has begun has begun, or its student would learn with other threads than its teacher.
    """
    begun = read_environment(folder).get("torch_threads")
    has_begun = (folder / "result.json").exists() or any(folder.rglob("*.pt"))
    if not has_begun or "OMP_NUM_THREADS" in os.environ or not isinstance(begun, int) or begun < 1:
        return
    if begun != torch.get_num_threads():
        torch.set_num_threads(begun)
        why = "to repeat it to the bit; OMP_NUM_THREADS overrides"
        console.print(f"{label}: goes on with {begun} threads, as it was begun, {why}", soft_wrap=True)


def _run(recipe: Recipe, place: RunFolder, console: Console, label: str, teacher: Teacher | None) -> dict[str, Any]:
    folder = place.path
    repeat_threads(folder, console, label)
    fabric = make_fabric(recipe.train)
    train_set, val_set = build_dataset(recipe.data, "train"), build_dataset(recipe.data, "val")
    inputs = describe_inputs(recipe, teacher, {"train": train_set, "val": val_set})
    for change in place.check_inputs(inputs):
        console.print(f"{label}: {change}", soft_wrap=True)
    frozen, before = None, None
    if teacher is not None:
        frozen, before = load_teacher(teacher, val_set, fabric, recipe.data)
        console.print(f"teacher: {before.value:.1%} {before.metric.name} on val before training")
    distiller = build_distiller(recipe, train_set, frozen, fabric)
    for change in place.changes:
        console.print(f"{label}: {change}", soft_wrap=True)
    place.claim()
    if recipe.data.split is not None and fabric.global_rank == 0:
        names = {
            each: [data.name(i) for i in range(len(data))] for each, data in (("train", train_set), ("val", val_set))
        }
        write_json(folder / "split.json", names)
    progress = _train(fabric, recipe, distiller, train_set, val_set, folder, Narrator(console, label), inputs)
    split = final_split(recipe.data)
    final_set = build_dataset(recipe.data, split)
    student = distiller.student
    scored = evaluate(student, final_set, fabric, recipe.data, "the student")
    key, name = scored.metric.key, scored.metric.name
    result = {
        **_record(scored, student, final_set, recipe.data, split),
        "iterations": recipe.train.iterations,
        "seconds": round(progress.seconds, 1),
        "seed": recipe.seed,
        "method": recipe.label if teacher is not None else "none",
        "best_step": progress.best_step,
        f"val_{key}": progress.best_score,
        f"teacher_{key}": None if before is None else before.value,
    }
    if changes := place.recorded_changes:
        result["changes"] = changes
    if frozen is not None and teacher is not None:
        result["teacher"] = _known_record(teacher, recipe.data, split) or _record(
            evaluate(frozen, final_set, fabric, recipe.data, "the teacher"), frozen, final_set, recipe.data, split
        )
    if fabric.global_rank == 0:
        write_json(folder / "result.json", result)
    fabric.barrier()
    console.print(
        f"{label}: {scored.value:.1%} {name} on {split}, best on val at step {progress.best_step}, "
        f"{clock(progress.seconds)}"
    )
    return result


def load_teacher(teacher: Teacher, val_set: ImageSet, fabric: Fabric, data: Data) -> tuple[nn.Module, Score]:
    """Build the teacher, fill all of it with its weights, and score it before anything is learned from it.

    Raises:
        UserError: Weights that do not fill it, or a score below ``teacher.min_miou``.
    """
    network = fabric.to_device(build_teacher(teacher, val_set.classes))
    check_loaded(network, "the teacher's")
    score = evaluate(network, val_set, fabric, data, "the teacher")
    if score.value < teacher.min_miou:
        is_trained_here = all(Path(each.weights or "").is_dir() for each in teacher.each.values())
        key = "teacher.members.NAME" if teacher.members else "teacher"
        cure = (
            f"train it longer, with {key}.train.iterations=NUMBER and another --run-dir"
            if is_trained_here
            else "check that its weights belong to this data set with the classes in the same order"
        )
        raise UserError(
            f"the teacher has {score.value:.1%} {score.metric.name} on val, below teacher.min_miou="
            f"{teacher.min_miou:g}: {cure}, or lower teacher.min_miou"
        )
    return network, score


def _train(
    fabric: Fabric,
    recipe: Recipe,
    distiller: Distiller,
    train_set: ImageSet,
    val_set: ImageSet,
    folder: Path,
    narrator: Narrator,
    inputs: Inputs,
) -> Progress:
    classes = train_set.classes
    _draw_samples(recipe, folder)
    stream = TrainingStream(train_set, build_transform(recipe.data, train_set.task), recipe.seed)

    def save(student: nn.Module) -> None:
        models.save_student(
            student,
            folder,
            name=recipe.student.model,
            num_classes=len(classes),
            options=recipe.student.options,
            classes=classes.names,
            extra={"palette": classes.palette, "void": classes.void, "scale": recipe.data.scale},
        )

    return Training(
        fabric=fabric,
        distiller=distiller,
        stream=stream,
        train=recipe.train,
        seed=recipe.seed,
        folder=folder,
        validate=lambda student: evaluate(student, val_set, fabric, recipe.data, "the student"),
        save_student=save,
        narrator=narrator,
        workers=recipe.data.workers,
        inputs=inputs,
    ).run()


def _draw_samples(recipe: Recipe, folder: Path) -> None:
    """Draw what the student sees first, unless that picture is there."""
    file = folder / "figures" / "training_samples.png"
    if not is_first_process() or is_whole(file):
        return
    dataset = build_dataset(recipe.data, "train")
    if isinstance(dataset, SegmentationDataset):
        stream = TrainingStream(dataset, build_transform(recipe.data, dataset.task), recipe.seed)
        run_pictures.training_samples(stream, dataset.classes, file)


def _known_record(teacher: Teacher, data: Data, split: str) -> dict[str, Any] | None:
    """Return the teacher's record from its own run, where that was scored on the same data; spares a second scoring."""
    if teacher.weights is None:
        return None
    folder = Path(teacher.weights)
    if not (folder / "recipe.yaml").exists() or not (folder / "result.json").exists():
        return None
    result = read_result(folder / "result.json", *COSTS)
    if load(folder / "recipe.yaml").data != data or result["split"] != split:
        return None
    metric = metric_of(result)
    return {key: result[key] for key in (metric.key, metric.classes, "pixel_accuracy", *COSTS) if key in result}


def _record(score: Score, network: nn.Module, dataset: ImageSet, data: Data, split: str) -> dict[str, Any]:
    height, width = data.crop if dataset.task == "classification" else dataset[0][0].shape[-2:]
    return {
        **score.record(),
        "split": split,
        "params": count_parameters(network),
        "flops": count_flops(network, (height, width)),
        "flops_size": [height, width],
    }
