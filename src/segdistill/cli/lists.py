"""Commands that list recipes, keys, losses and networks. They do not import PyTorch."""

from collections.abc import Iterator

from segdistill.catalogue.cards import LOSS_CARDS
from segdistill.catalogue.methods import described
from segdistill.cli.screen import console
from segdistill.errors import unknown
from segdistill.models.names import license, names
from segdistill.recipes import BUILTIN, METHODS, ROWS, Row, load, tables, to_yaml
from segdistill.recipes.keys import describe
from segdistill.reports.screen import screen_table


def recipes(name: str | None) -> None:
    """List the recipes, or print one as YAML, after its published results as comments."""
    if name is not None:
        if name not in BUILTIN:
            raise unknown("recipe", name, BUILTIN)
        print("".join(f"# {line}\n" for line in _reported(name)), to_yaml(load(name)), sep="", end="")
        return
    table = screen_table("recipe", "description", "published in tables")
    for each, function in BUILTIN.items():
        table.add_row(each, (function.__doc__ or "").strip(), tables(each))
    console.print(table)


def _reported(name: str) -> list[str]:
    """Return the published results of a recipe, one line for each row of a paper's table."""
    lines = []
    for row in ROWS:
        if row.experiment == name:
            score = "classes" if row.iou else f"{row.score:.2f}"
            subject = "teacher" if row.method == "teacher" else " ".join((f"method={row.method}", *row.changes))
            notes = "; ".join(_notes(row))
            lines.append(f"{row.paper} {row.table:<4}{score:>8}  {subject}{notes and f'  # {notes}'}")
    return lines


def _notes(row: Row) -> Iterator[str]:
    """Yield the other numbers of a row, and its note."""
    if row.spread is not None:
        yield f"± {row.spread:.2f}"
    if row.class_accuracy is not None:
        yield f"mean class accuracy {row.class_accuracy:.2f}"
    if row.top1 is not None:
        yield "top-1 accuracy"
    if row.note:
        yield row.note


def key(name: str) -> None:
    """Print type, default and meaning of a recipe's key, or of all keys of a section."""
    for each in describe(name):
        default = f"default {each.default}" if each.default else "required"
        console.print(f"{each.name}: {each.type}, {default}", soft_wrap=True)
        console.print(f"  {each.description}", soft_wrap=True)


def losses() -> None:
    """List the losses and the methods."""
    is_narrow = console.width < 120
    more = () if is_narrow else ("on", "labels", "paper")
    table = screen_table("loss", "idea", "hyperparameters", *more)
    for card in LOSS_CARDS:
        defaults = [f"{key}={value}" for key, value in card.hyperparameters.items()]
        on = card.on if isinstance(card.on, str) else ", ".join(card.on)
        cells = () if is_narrow else (on, card.labels, card.paper)
        table.add_row(card.name, card.idea, ("\n" if is_narrow else ", ").join(defaults), *cells)
    console.print(table)
    console.print()
    table = screen_table("method", "terms in addition to the task loss: weight x name")
    for method, terms in METHODS.items():
        table.add_row(method, "  ".join(described(terms)) or "-")
    console.print(table)


def models() -> None:
    """List the networks."""
    table = screen_table("model", "description", "weights")
    for name, description in names().items():
        table.add_row(name, description, license(name))
    console.print(table)
    console.print(
        "also: ARCHITECTURE/ENCODER of segmentation-models-pytorch, as in unet/tu-mobilenetv2_035; torchvision/NAME, "
        "as in torchvision/deeplabv3_resnet50; and package.module:callable, called with num_classes",
        soft_wrap=True,
    )
