"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer


def examples(*commands: str) -> str:
    """Return the last part of a command's help. Typer keeps only line breaks that are empty lines."""
    return "\n\n".join(("Examples:", *commands))


def recipe_names(typed: str) -> list[str]:
    """Return the built-in recipes that complete a name in a shell."""
    from segdistill.recipes import BUILTIN

    return [name for name in BUILTIN if name.startswith(typed)]


RecipeArgument = Annotated[
    str,
    typer.Argument(
        help="A built-in recipe (see `segdistill recipes`) or a YAML file.",
        autocompletion=recipe_names,
        metavar="RECIPE",
    ),
]
ChangesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="Changes to the recipe, as in train.iterations=500 data.root=DIR; `segdistill recipes --key train` "
        "explains the keys.",
        metavar="KEY=VALUE...",
    ),
]
RunDirOption = Annotated[
    Path | None, typer.Option("--run-dir", help="Folder of the run; by default runs/RECIPE-METHOD-sSEED.")
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Only resume an existing run; permits another learning rate, warm-up, clipping or weight of a term.",
    ),
]
TrustOption = Annotated[
    bool, typer.Option("--trust", help="Import the code that a run's folder names as its network or loss.")
]
ImagesOption = Annotated[int, typer.Option("--images", min=1, help="Number of validation images for scores.")]
RunArgument = Annotated[Path, typer.Argument(help="Folder of a run.", metavar="RUN")]
