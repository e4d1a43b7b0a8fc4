"""A whole run, from recipe to table: the teacher, the distilled student, the student alone beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from segdistill.data import SegmentationDataset
from segdistill.errors import UserError
from segdistill.recipes import Recipe, alone_recipe
from segdistill.recipes.schema import Network, Teacher
from segdistill.reports.drawing import is_whole
from segdistill.reports.run_table import run_table
from segdistill.runs import lock
from segdistill.runs.metric import METRICS, metric_of
from segdistill.runs.run_folder import RunFolder
from segdistill.training import run_pictures
from segdistill.training.build import build_dataset, build_network, build_teacher, final_split
from segdistill.training.console import quiet
from segdistill.training.look import look
from segdistill.training.rehearsal import Rehearsal
from segdistill.training.train import make_fabric, repeat_threads, run_student


def distill(recipe: Recipe, folder: Path, *, console: Console, must_exist: bool = False) -> dict[str, Any]:
    """Run a recipe in ``folder`` and return the student's result. What is finished there is not run again.

    The teacher is trained first where the recipe says so, in ``teacher/``; with ``baseline`` the student is trained
    alone too, in ``alone/``. A recipe without distillation terms trains the student alone.

    Args:
        recipe: What to do.
        folder: The run's folder.
        console: Where to tell of it.
        must_exist: Only go on with a run that is there, and let :class:`RunFolder`'s changes be made to it.

    Raises:
        UserError: Whatever the user can mend.
    """
    lock.check_free(folder)
    place = RunFolder(folder, recipe, must_exist=must_exist, accepts_changes=must_exist)
    beside = recipe.baseline and recipe.distils
    is_finished = place.result is not None and (not beside or (folder / "alone" / "result.json").exists())
    if is_finished and place.changes:
        raise UserError(f"{folder} is finished ({place.changes[0]}); give another --run-dir to run it otherwise")
    if is_finished and _is_drawn(folder, place.result):
        _say(console, f"{folder} is finished; give another --run-dir to run it again")
    else:
        _say_plan(console, recipe, folder)
        teacher = checked_teacher(recipe)
        if not place.has_begun:
            rehearse_first(recipe, console)
        check_labels(recipe, console)
        with lock.held(folder):
            repeat_threads(folder, console, recipe.name)
            place.claim()
            try:
                _run(recipe, teacher, place, console)
            except UserError:
                place.abandon()
                raise
    console.print()
    console.print(run_table(folder))
    _say(console, f"pictures, records and student.safetensors in {folder}")
    result = place.result
    assert result is not None
    return result


def _run(recipe: Recipe, teacher: Teacher | None, place: RunFolder, console: Console) -> None:
    folder, accepts = place.path, place.accepts_changes
    changed = accepts or bool(place.recorded_changes)  # the runs beneath share the recipe's words
    if teacher is not None:
        teacher = trained_teacher(recipe, teacher, folder, console, accepts_changes=changed)
    label = "distilled" if teacher is not None else "student alone"
    run_student(recipe, folder, console=console, label=label, teacher=teacher, accepts_changes=accepts)
    if teacher is not None and recipe.baseline:
        alone = alone_recipe(recipe)
        run_student(alone, folder / "alone", console=console, label="student alone", accepts_changes=changed)
    _draw(recipe, folder, teacher)


def trained_teacher(
    recipe: Recipe, teacher: Teacher, folder: Path, console: Console, *, accepts_changes: bool = False
) -> Teacher:
    """Return the teacher with weights: what has yet to be trained is trained, in ``teacher/`` or ``teachers/NAME/``."""
    ready = dict(teacher.each)
    for name, (place, own) in teacher_runs(recipe).items():
        run_student(own, folder / place, console=console, label=name, accepts_changes=accepts_changes)
        ready[name] = ready[name].model_copy(update={"weights": str(folder / place), "train": None})
    return teacher.model_copy(update={"members": ready}) if teacher.members else ready["teacher"]


def teacher_runs(recipe: Recipe) -> dict[str, tuple[str, Recipe]]:
    """Return the teachers that have yet to be trained, by name: the folder beneath the run's, and the recipe."""
    if recipe.teacher is None:
        return {}
    return {
        name: (f"teachers/{name}" if recipe.teacher.members else "teacher", teacher_recipe(recipe, name))
        for name, teacher in recipe.teacher.each.items()
        if teacher.train is not None
    }


def teacher_recipe(recipe: Recipe, name: str = "teacher") -> Recipe:
    """Return the recipe that trains the teacher, or one of several, as a student of its own."""
    if recipe.teacher is None:
        raise UserError(f"recipe '{recipe.name}' has no teacher to train")
    if name not in recipe.teacher.each:
        raise UserError(f"there are several teachers, {', '.join(recipe.teacher.each)}; train each by its own recipe")
    teacher = recipe.teacher.each[name]
    network = Network(**{name: getattr(teacher, name) for name in Network.model_fields})
    # Members of one architecture would otherwise be one and the same network.
    seed = (recipe.seed + list(recipe.teacher.each).index(name)) % 2**32
    own = alone_recipe(recipe)
    terms = {term_name: term.of_teacher() for term_name, term in own.terms.items()}
    changes = {"student": network, "train": teacher.train or recipe.train, "seed": seed, "terms": terms}
    return own.model_copy(update=changes)


def rehearse_first(recipe: Recipe, console: Console) -> None:
    """Rehearse a run before the look at its data, which takes longer.

    Raises:
        UserError: What the run would stumble on; where that is a label or an image, the file.
    """
    rehearsal = Rehearsal(recipe)
    try:
        rehearsal.run()
    except UserError:
        check_labels(recipe, console)
        raise


def checked_teacher(recipe: Recipe) -> Teacher | None:
    """Return the teacher, if the recipe distils; it must have weights or be trained first."""
    teacher = recipe.teacher
    if not recipe.distils:
        return None
    if teacher is None:
        raise UserError(f"method '{recipe.method}' needs a teacher: give teacher.model and teacher.weights")
    for name, each in teacher.each.items():
        if each.train is None and each.weights is None:
            key = f"teacher.members.{name}" if teacher.members else "teacher"
            raise UserError(
                f"{key}.weights is not set, and random weights teach nothing: give {key}.weights=FILE, or have the "
                f"teacher trained first with {key}.train.iterations=NUMBER"
            )
    return teacher


def check_labels(recipe: Recipe, console: Console) -> None:
    """Look at the data before anything is trained; see :func:`segdistill.training.look.look`."""
    look(recipe.data, lambda line: _say(console, line))


def _is_drawn(folder: Path, result: Mapping[str, Any] | None) -> bool:
    """Tell whether the pictures of a finished run are there; of classification there are none."""
    names = ("comparison.png", "training_samples.png")
    return metric_of(result or {}) != METRICS["segmentation"] or all(
        is_whole(folder / "figures" / name) for name in names
    )


def _draw(recipe: Recipe, folder: Path, teacher: Teacher | None) -> None:
    fabric = make_fabric(recipe.train)
    if fabric.global_rank != 0:
        return
    dataset = build_dataset(recipe.data, final_split(recipe.data))
    if not isinstance(dataset, SegmentationDataset):
        return

    def student(place: Path) -> nn.Module:  # built from the recipe: what a folder names is not imported
        with quiet():
            own = recipe.student.model_copy(update={"weights": str(place), "weights_key": None})
            return build_network(own, dataset.classes, strict=True).eval()

    networks = {}
    if teacher is None:
        networks["student alone"] = student(folder)
    else:
        if recipe.baseline:
            networks["student alone"] = student(folder / "alone")
        networks["distilled"] = student(folder)
        networks["teacher"] = build_teacher(teacher, dataset.classes)
    run_pictures.side_by_side(networks, dataset, fabric, folder / "figures" / "comparison.png")


def _say_plan(console: Console, recipe: Recipe, folder: Path) -> None:
    _say(console, f"{recipe.name}: {recipe.description}" if recipe.description else recipe.name)
    teachers = recipe.teacher.each.values() if recipe.teacher is not None and recipe.distils else ()
    named = " + ".join(teacher.model for teacher in teachers) or "none"
    _say(console, f"student {recipe.student.model}, teacher {named}, method {recipe.label}, seed {recipe.seed}")
    train = recipe.train
    _say(console, f"data {recipe.data.name}, {train.iterations} steps of {train.batch_size} images, run in {folder}")


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)
