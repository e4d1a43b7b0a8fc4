"""Commands that need PyTorch, other than training."""

from collections.abc import Sequence
from pathlib import Path

from segdistill.cli.screen import console
from segdistill.errors import UserError
from segdistill.jobs.checks import check_recipe, check_run_folder, check_terms, layout_of_run
from segdistill.jobs.threads import idle_threads
from segdistill.models.names import check_name
from segdistill.recipes import load
from segdistill.reports.screen import screen_table


def evaluate(folder: Path, changes: Sequence[str], *, trust: bool) -> None:
    """Score a run's student."""
    check_run_folder(folder)
    splits = [change.removeprefix("split=") for change in changes if change.startswith("split=")]
    recipe = load(folder / "recipe.yaml", [change for change in changes if not change.startswith("split=")])
    layout = layout_of_run(folder, recipe)
    with idle_threads(console, silent=True):
        from segdistill import models
        from segdistill.evaluation.class_order import put_in_order
        from segdistill.reports.run_table import score_table
        from segdistill.training.session import Session

        network, description = models.load(folder, trust=trust), models.read_description(folder)
        session = Session(recipe, layout)
        split = splits[0] if splits else session.final_split
        classes = session.dataset(split).classes
        if len(classes) != description["num_classes"]:
            raise UserError(
                f"the student in {folder} has {description['num_classes']} classes and the data set {len(classes)}; "
                "give data with the student's classes"
            )
        put_in_order(network, description.get("classes") or (), classes.names, f"the student in {folder}")
        score = session.evaluate(session.fabric.to_device(network), split, "the student")
        console.print(score_table(score.record(), split))


def doctor(source: str, changes: Sequence[str], *, trust: bool) -> None:
    """Check a recipe."""
    checked = check_recipe(source, changes, trust=trust)
    check_terms(checked.recipe)
    with idle_threads(console):
        from segdistill.training.doctor import examine
        from segdistill.training.session import Session

        examine(Session(checked.recipe, checked.layout), console)


def network_costs() -> None:
    """Print parameters and operations of the papers' networks next to the printed numbers."""
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
    with idle_threads():
        costs = count()
    for cost in costs:
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
    """List the features of a network."""
    check_name(model)
    with idle_threads():
        import torch

        from segdistill import models
        from segdistill.distillation.features import describe
        from segdistill.outputs import aligns_corners

        network = models.build(model, classes)
        rows = describe(network, torch.zeros(1, 3, size, size))
    table = screen_table("name", "kind", "channels x height x width", "stride")
    for name, kind, shape in rows:
        stride = f"{size / shape[2]:g}" if len(shape) == 4 else "-"
        table.add_row(name, kind, " x ".join(map(str, shape[1:])), stride)
    console.print(table)
    aligned = "true" if aligns_corners(network) else "false"
    console.print(f"logits are upsampled with align_corners={aligned} (student.align_corners, teacher.align_corners)")
