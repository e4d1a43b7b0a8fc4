"""Commands that check a recipe or list what is there: data sets, recipes, losses, networks, features."""

from typing import Annotated

import typer

from segdistill.cli.options import ChangesArgument, RecipeArgument, TrustOption, examples, recipe_names

group = typer.Typer()


@group.command(
    epilog=examples(
        "segdistill doctor folder data.root=my_images",
        "segdistill doctor mine.yaml train.precision=bf16-mixed",
    )
)
def doctor(recipe: RecipeArgument, changes: ChangesArgument = None, trust: TrustOption = False) -> None:
    """Check a recipe before training: data, labels, teacher, compared features, a few steps, estimated time."""
    from segdistill.cli import commands

    commands.doctor(recipe, changes or [], trust=trust)


@group.command(
    epilog=examples(
        "segdistill data cityscapes",
        "segdistill data folder data.root=my_images split=train",
    )
)
def data(
    name: Annotated[str | None, typer.Argument(help="Name of a data set; without one, all are listed.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            help="data.root=DIR checks the files in a folder; split=train counts the classes of a split.",
            metavar="KEY=VALUE...",
        ),
    ] = None,
) -> None:
    """List the data sets; describe one and where to get it, check its folder, or count its classes."""
    from segdistill.cli import data

    data.show(name, changes or [])


@group.command(
    epilog=examples(
        "segdistill recipes folder",
        "segdistill recipes --key train.precision",
    )
)
def recipes(
    name: Annotated[
        str | None,
        typer.Argument(help="Name of a recipe to print as YAML.", autocompletion=recipe_names, metavar="[RECIPE]"),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Print type, default and meaning of a key, or of all keys of a section.")
    ] = None,
) -> None:
    """List the built-in recipes, print one as YAML to start from, or explain a key."""
    from segdistill.cli import lists

    if key is not None:
        lists.key(key)
    else:
        lists.recipes(name)


@group.command(
    epilog=examples(
        "segdistill losses",
        "segdistill recipes --key terms.gskd",
    )
)
def losses() -> None:
    """List the losses and the named methods."""
    from segdistill.cli import lists

    lists.losses()


@group.command(
    epilog=examples(
        "segdistill models",
        "segdistill models --costs",
    )
)
def models(
    costs: Annotated[
        bool,
        typer.Option("--costs", help="Count parameters and operations, and compare them with the papers' numbers."),
    ] = False,
) -> None:
    """List the networks that are available by name."""
    from segdistill.cli import commands, lists

    if costs:
        commands.network_costs()
    else:
        lists.models()


@group.command(
    epilog=examples(
        "segdistill taps deeplabv3_mobilenetv2 --classes 11",
        "segdistill taps unet/resnet18 --size 256",
    )
)
def taps(
    model: Annotated[str, typer.Argument(help="Name of a network, as in student.model.")],
    classes: Annotated[int, typer.Option("--classes", min=1, help="Number of classes.")] = 19,
    size: Annotated[
        int, typer.Option("--size", min=32, help="Height and width of the image for which shapes are listed.")
    ] = 128,
) -> None:
    """List the features of a network that a term can compare, with their shapes."""
    from segdistill.cli import commands

    commands.taps(model, classes, size)
