"""One student: built, trained with or without a teacher, scored, recorded in a folder of its own."""

from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import nn

from segdistill import models
from segdistill.data import SegmentationDataset, TrainingStream
from segdistill.distiller import Distiller
from segdistill.errors import UserError
from segdistill.recipes import Recipe, load
from segdistill.recipes.schema import Data, Teacher, Train
from segdistill.training import pictures
from segdistill.training.build import build_dataset, build_network, build_terms, build_transform, final_split
from segdistill.training.console import Narrator, clock
from segdistill.training.cost import count_flops, count_parameters
from segdistill.training.evaluation import Score, evaluate
from segdistill.training.folder import RunFolder
from segdistill.training.loop import Progress, Training
from segdistill.training.records import write_json

RECORD = ("miou", "iou", "pixel_accuracy", "split", "params", "flops", "flops_size")


def make_fabric(train: Train) -> Fabric:
    """Start the engine: device, precision, processes."""
    fabric = Fabric(
        accelerator=train.accelerator, devices=train.devices, num_nodes=train.nodes, precision=train.precision
    )
    fabric.launch()
    return fabric


def run_student(
    recipe: Recipe, folder: Path, *, console: Console, label: str, teacher: Teacher | None = None
) -> dict[str, Any]:
    """Train the recipe's student in ``folder`` and return its result; go on, or do nothing, where it was begun.

    Args:
        recipe: What to train on what; its own teacher and baseline are not looked at.
        folder: The run's folder.
        console: Where to tell of it.
        label: What to call this student there.
        teacher: What it is distilled from, with weights; None trains it on labels alone.

    Raises:
        UserError: Whatever the user can mend.
    """
    place = RunFolder.open(folder, recipe)
    if place.result is not None:
        return place.result
    fabric = make_fabric(recipe.train)
    train_set, val_set = build_dataset(recipe.data, "train"), build_dataset(recipe.data, "val")
    torch.manual_seed(recipe.seed)  # the same first weights with every method
    student = build_network(recipe.student, len(train_set.classes), strict=False)
    frozen, teacher_miou = None, None
    if teacher is not None:
        frozen, score = load_teacher(teacher, val_set, fabric)
        teacher_miou = score.miou
        console.print(f"teacher: {teacher_miou:.1%} mIoU on val before training", highlight=False)
    terms = build_terms(recipe.terms if teacher is not None else {}, len(train_set.classes))
    distiller = Distiller(student, frozen, terms).to(fabric.device)
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(distiller.student)  # type: ignore[no-untyped-call]
    progress = _train(fabric, recipe, distiller, train_set, val_set, folder, Narrator(console, label))
    split = final_split(recipe.data)
    final_set = build_dataset(recipe.data, split)
    workers = recipe.data.workers
    scored = evaluate(student, final_set, fabric, workers=workers)
    result = {
        **_record(scored, student, final_set, split),
        "iterations": recipe.train.iterations,
        "seconds": round(progress.seconds, 1),
        "seed": recipe.seed,
        "method": recipe.method if teacher is not None else "none",
        "best_step": progress.best_step,
        "val_miou": progress.best_miou,
        "teacher_miou": teacher_miou,
    }
    if frozen is not None and teacher is not None:
        result["teacher"] = _known_record(teacher, recipe.data, split) or _record(
            evaluate(frozen, final_set, fabric, workers=workers), frozen, final_set, split
        )
    if fabric.global_rank == 0:
        write_json(folder / "result.json", result)
    fabric.barrier()
    console.print(
        f"{label}: {scored.miou:.1%} mIoU on {split}, best on val at step {progress.best_step}, "
        f"{clock(progress.seconds)}",
        highlight=False,
    )
    return result


def load_teacher(teacher: Teacher, val_set: SegmentationDataset, fabric: Fabric) -> tuple[nn.Module, Score]:
    """Build the teacher, fill all of it with its weights, and score it before anything is learned from it.

    Raises:
        UserError: Weights that do not fill it, or a score below ``teacher.min_miou``.
    """
    network = fabric.to_device(build_network(teacher, len(val_set.classes), strict=True))
    score = evaluate(network, val_set, fabric)
    if score.miou < teacher.min_miou:
        raise UserError(
            f"the teacher has {score.miou:.1%} mIoU on val, below teacher.min_miou={teacher.min_miou:g}: check that "
            "its weights belong to this data set with the classes in the same order, or lower teacher.min_miou"
        )
    return network, score


def _train(
    fabric: Fabric,
    recipe: Recipe,
    distiller: Distiller,
    train_set: SegmentationDataset,
    val_set: SegmentationDataset,
    folder: Path,
    narrator: Narrator,
) -> Progress:
    classes = train_set.classes
    stream = TrainingStream(train_set, build_transform(recipe.data), recipe.seed)
    if fabric.global_rank == 0:
        pictures.training_samples(stream, classes, folder / "figures" / "training_samples.png")

    def save(student: nn.Module) -> None:
        models.save_student(
            student,
            folder,
            name=recipe.student.model,
            num_classes=len(classes),
            options=recipe.student.options,
            classes=classes.names,
            extra={"palette": classes.palette, "scale": recipe.data.scale},
        )

    return Training(
        fabric=fabric,
        distiller=distiller,
        stream=stream,
        train=recipe.train,
        seed=recipe.seed,
        folder=folder,
        validate=lambda student: evaluate(student, val_set, fabric, workers=recipe.data.workers),
        save_student=save,
        narrator=narrator,
        workers=recipe.data.workers,
    ).run()


def _known_record(teacher: Teacher, data: Data, split: str) -> dict[str, Any] | None:
    """Return the teacher's record from its own run, where that was scored on the same data; spares a second scoring."""
    folder = Path(teacher.weights or "")
    if not (folder / "recipe.yaml").exists() or RunFolder(folder).result is None:
        return None
    result = RunFolder(folder).result or {}
    if load(folder / "recipe.yaml").data != data or result["split"] != split:
        return None
    return {key: result[key] for key in RECORD}


def _record(score: Score, network: nn.Module, dataset: SegmentationDataset, split: str) -> dict[str, Any]:
    height, width = dataset[0][0].shape[-2:]
    return {
        "miou": score.miou,
        "iou": score.iou,
        "pixel_accuracy": score.pixel_accuracy,
        "split": split,
        "params": count_parameters(network),
        "flops": count_flops(network, (height, width)),
        "flops_size": [height, width],
    }
