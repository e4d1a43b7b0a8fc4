"""Jobs that distill a student, or train a network on labels alone."""

from pathlib import Path

from rich.console import Console

from segdistill.jobs.checks import Changes, as_arguments, check_recipe, check_terms, default_folder
from segdistill.jobs.run import Run
from segdistill.jobs.threads import idle_threads
from segdistill.recipes import alone_recipe
from segdistill.system.terminal import open_console


def distill(
    recipe: str | Path,
    changes: Changes = (),
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    trust: bool = False,
    console: Console | None = None,
) -> Run:
    """Run a recipe: train the teacher if the recipe has ``teacher.train``, the distilled student, the student alone.

    The command ``segdistill distill`` calls this function. Call it again to resume a run that was stopped, or to read
    one that is finished.

    Args:
        recipe: A built-in recipe or a YAML file.
        changes: Changes to it, as in ``{"data.root": "my_images"}`` or ``["data.root=my_images"]``.
        run_dir: The folder of the run; by default ``runs/RECIPE-METHOD-sSEED``.
        resume: Only resume an existing run. Another learning rate, warm-up, clipping or weight of a term is permitted.
        trust: Import the code that a run's folder names.
        console: The console to print on; by default standard output.

    Raises:
        UserError: At a mistake that the user can correct.

    Example::

        run = segdistill.distill("quickstart", {"train.budget": 0.01})
        print(run.result["miou"])
    """
    arguments, console = as_arguments(changes), console or open_console()
    checked = check_recipe(recipe, arguments, trust=trust)
    check_terms(checked.recipe)
    with idle_threads(console):
        from segdistill.training import run

        folder = Path(run_dir) if run_dir is not None else default_folder(checked.recipe)
        run.distill(checked.recipe, folder, console=console, must_exist=resume, layout=checked.layout)
    return Run(folder, trust=trust)


def train(
    recipe: str | Path,
    changes: Changes = (),
    *,
    teacher: bool = False,
    run_dir: str | Path | None = None,
    resume: bool = False,
    trust: bool = False,
    console: Console | None = None,
) -> Run:
    """Train a recipe's student, or its teacher, on labels alone.

    The command ``segdistill train`` calls this function.

    Args:
        recipe, changes, run_dir, resume, trust, console: As for :func:`distill`.
        teacher: Train the recipe's teacher instead of its student.

    Raises:
        UserError: At a mistake that the user can correct.
    """
    arguments, console = as_arguments(changes), console or open_console()
    checked = check_recipe(recipe, arguments, trust=trust)
    check_terms(checked.recipe)
    with idle_threads(console):
        from segdistill.training import run
        from segdistill.training.teacher_runs import teacher_recipe

        chosen = teacher_recipe(checked.recipe) if teacher else alone_recipe(checked.recipe)
        name = f"{checked.recipe.name}-teacher" if teacher else checked.recipe.name
        chosen = chosen.model_copy(update={"name": name})
        folder = Path(run_dir) if run_dir is not None else default_folder(chosen)
        run.distill(chosen, folder, console=console, must_exist=resume, layout=checked.layout)
    return Run(folder, trust=trust)
