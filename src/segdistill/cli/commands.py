"""What the commands that need PyTorch do. Whatever can be checked without it is checked before it is imported."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from segdistill.cli.screen import console
from segdistill.comparison.plan import plan
from segdistill.comparison.search import search
from segdistill.data import open_layout
from segdistill.errors import UserError
from segdistill.evaluation.picture_files import pictures_in
from segdistill.models.names import check_name
from segdistill.recipes import Recipe, alone_recipe, files_of, load
from segdistill.reports.screen import screen_table
from segdistill.system import threads


def distill(source: str, changes: Sequence[str], run_dir: Path | None, resume: bool, *, trust: bool) -> None:
    """Run a recipe."""
    recipe = _checked(source, changes, trust)
    _check_terms(recipe)
    run = _training(says_threads=True)
    run.distill(recipe, run_dir or _default_folder(recipe), console=console, must_exist=resume)


def train(
    source: str, changes: Sequence[str], run_dir: Path | None, resume: bool, *, teacher: bool, trust: bool
) -> None:
    """Train a recipe's student, or its teacher, on labels alone."""
    recipe = _checked(source, changes, trust)
    _check_terms(recipe)
    run = _training(says_threads=True)
    chosen = run.teacher_recipe(recipe) if teacher else alone_recipe(recipe)
    chosen = chosen.model_copy(update={"name": f"{recipe.name}-teacher" if teacher else recipe.name})
    run.distill(chosen, run_dir or _default_folder(chosen), console=console, must_exist=resume)


def compare(
    source: str,
    changes: Sequence[str],
    methods: str | None,
    seeds: str,
    run_dir: Path | None,
    *,
    dry_run: bool,
    trust: bool,
) -> None:
    """Run a comparison, or only say what it would take."""
    recipe = _checked(source, changes, trust)
    planned = plan(source, changes, methods, seeds)
    folder = run_dir or _among_runs(f"{recipe.name}-comparison")
    for run in planned.runs[: len(planned.methods)]:
        _check_terms(run.recipe, f"method '{run.method}': ")
    _training(says_threads=True)
    if dry_run:
        from segdistill.comparison.estimate import estimate

        estimate(planned, folder, console=console)
    else:
        from segdistill.comparison.compare import compare

        compare(planned, folder, console=console)


def sweep(
    source: str, changes: Sequence[str], dimensions: Sequence[str], trials: int, run_dir: Path | None, *, trust: bool
) -> None:
    """Search for good values of a recipe's keys."""
    recipe = _checked(source, changes, trust)
    searched = search(source, changes, dimensions)
    for recipe_at_end in searched.ends:
        _check_terms(recipe_at_end)
    _training(says_threads=True)
    from segdistill.comparison.sweep import sweep as run_trials

    folder = run_dir or _among_runs(f"{recipe.name}-{recipe.method}-sweep")
    run_trials(searched, folder, trials=trials, console=console)


def evaluate(folder: Path, changes: Sequence[str], *, trust: bool) -> None:
    """Score a run's student."""
    split = next((change[6:] for change in changes if change.startswith("split=")), None)
    recipe = _recipe_of(folder, [change for change in changes if not change.startswith("split=")])
    _check_layout(recipe)
    _training()
    from segdistill import models
    from segdistill.evaluation.class_order import put_in_order
    from segdistill.evaluation.scoring import evaluate as score
    from segdistill.reports.run_table import score_table
    from segdistill.training.build import build_dataset, final_split
    from segdistill.training.train import make_fabric

    network, description = models.load(folder, trust=trust), models.read_description(folder)
    split = split or final_split(recipe.data)
    dataset = build_dataset(recipe.data, split)
    if len(dataset.classes) != description["num_classes"]:
        raise UserError(
            f"the student in {folder} has {description['num_classes']} classes and the data set {len(dataset.classes)}"
        )
    put_in_order(network, description.get("classes") or (), dataset.classes.names, f"the student in {folder}")
    fabric = make_fabric(recipe.train)
    console.print(
        score_table(score(fabric.to_device(network), dataset, fabric, recipe.data, "the student").record(), split)
    )


def predict(folder: Path, images: Sequence[Path], out: Path, *, trust: bool) -> None:
    """Segment pictures."""
    _folder(folder)
    pictures_in(images, out)
    _training()
    from segdistill.evaluation.prediction import predict_files

    count = predict_files(folder, images, out, trust=trust)
    console.print(f"{count} overlays and label PNGs in {out}", soft_wrap=True)


def doctor(source: str, changes: Sequence[str], *, trust: bool) -> None:
    """Check a recipe."""
    recipe = _checked(source, changes, trust)
    _check_terms(recipe)
    _training(says_threads=True)
    from segdistill.training.doctor import examine

    examine(recipe, console)


def network_costs() -> None:
    """Count the papers' networks."""
    _training()
    from segdistill.evaluation.network_costs import EXPLANATION
    from segdistill.evaluation.network_costs import network_costs as count

    table = screen_table(
        "paper",
        "table",
        "network",
        "classes",
        "parameters",
        "printed",
        "image",
        "multiply-adds",
        "printed",
        names=(0, 2),
    )
    for cost in count():
        row, (height, width) = cost.row, cost.size
        table.add_row(
            row.paper, row.table, cost.model, str(cost.classes),
            f"{cost.params:.2f}", _with_difference(row.params, cost.params),
            f"{height}x{width}", f"{cost.multiply_adds:.1f}", _with_difference(row.flops, cost.multiply_adds),
        )  # fmt: skip
    console.print(table)
    console.print(EXPLANATION, soft_wrap=True)


def _with_difference(printed: float | None, counted: float) -> str:
    return "-" if printed is None else f"{printed:.1f} ({counted / printed - 1:+.1%})"


def taps(model: str, classes: int, size: int) -> None:
    """List a network's features."""
    check_name(model)
    _training()
    import torch

    from segdistill import models
    from segdistill.distillation.features import describe

    network = models.build(model, classes)
    table = screen_table("name", "kind", "channels x height x width", "stride")
    for name, kind, shape in describe(network, torch.zeros(1, 3, size, size)):
        stride = f"{size / shape[2]:g}" if len(shape) == 4 else "-"
        table.add_row(name, kind, " x ".join(map(str, shape[1:])), stride)
    console.print(table)


def _checked(source: str, changes: Sequence[str], trust: bool) -> Recipe:
    """Load a recipe and check every word of it that can be checked in milliseconds."""
    recipe = load(source, changes)
    if not trust:
        _check_code(source, recipe, changes)
    check_name(recipe.student.model)
    for name, teacher in (recipe.teacher.each if recipe.teacher is not None else {}).items():
        check_name(teacher.model)
        if teacher.weights is not None and not Path(teacher.weights).expanduser().exists():
            key = "teacher" if recipe.teacher is teacher else f"teacher.members.{name}"
            raise UserError(f"{key}.weights: no such file or run folder: {teacher.weights}")
    if recipe.student.weights is not None and not Path(recipe.student.weights).expanduser().exists():
        raise UserError(f"student.weights: no such file: {recipe.student.weights}")
    _check_layout(recipe)
    return recipe


def _check_code(source: str, recipe: Recipe, changes: Sequence[str]) -> None:
    """Refuse to import what a run's folder names; a recipe of one's own may name code, and so may the command line."""
    marks = ("environment.json", "student.json")
    of_runs = [file for file in files_of(source) if any((file.parent / mark).exists() for mark in marks)]
    if not of_runs:
        return
    teachers = recipe.teacher.each.values() if recipe.teacher is not None else ()
    named = [recipe.student.model, *(each.model for each in teachers), *(term.loss for term in recipe.terms.values())]
    given = {change.partition("=")[2] for change in changes}
    if code := [name for name in dict.fromkeys(named) if ":" in name and name not in given]:
        raise UserError(
            f"{of_runs[0]} lies in a run's folder and names code to import, '{', '.join(code)}'; if you trust it, give "
            "--trust"
        )


def _check_terms(recipe: Recipe, place: str = "") -> None:
    """Check what a term says before its networks are imported, which takes longer than PyTorch alone."""
    from segdistill.distillation.build import check_terms

    try:
        check_terms(recipe.term_settings)
    except UserError as error:
        raise UserError(f"{place}{error}") from None


def _check_layout(recipe: Recipe) -> None:
    layout = open_layout(recipe.data.name, recipe.data.root, recipe.data.split)
    for split in ("train", "val"):
        layout.split(split)


def _default_folder(recipe: Recipe) -> Path:
    return _among_runs(f"{recipe.name}-{recipe.method}-s{recipe.seed}")


def _among_runs(name: str) -> Path:
    """Return the folder of that name in runs/, whatever the words of a recipe say: ``../x`` leads nowhere else."""
    return Path("runs") / re.sub(r'[/\\:*?"<>|\x00-\x1f\x7f]', "_", name).lstrip(".")


def _folder(folder: Path) -> None:
    if not (folder / "student.json").exists():
        raise UserError(f"{folder} is not a run's folder with a trained student: it has no student.json")


def _recipe_of(folder: Path, changes: Sequence[str]) -> Recipe:
    _folder(folder)
    return load(folder / "recipe.yaml", changes)


def _training(*, says_threads: bool = False) -> ModuleType:
    """Import the training code, without the libraries' own chatter, and settle how many threads compute."""
    warnings.filterwarnings("ignore", category=UserWarning, module="lightning_fabric")
    chosen = threads.choose()  # before the import: its work is no load that others make
    import torch

    torch.set_num_threads(chosen.count)
    if says_threads:
        console.print(f"computing with {chosen}", soft_wrap=True)
    from segdistill.training import run

    return run
