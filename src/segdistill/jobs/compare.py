"""Jobs that compare methods over seeds, or search for the best values of keys."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from segdistill.comparison.equal_budget import check_equal, row_of_alone, rows_at
from segdistill.comparison.plan import first_runs, plan, repeated_rows
from segdistill.comparison.search import search
from segdistill.errors import UserError, nearest
from segdistill.jobs.checks import Changes, as_arguments, check_recipe, check_terms, in_runs
from segdistill.jobs.threads import idle_threads
from segdistill.recipes.own_code import code_of_terms
from segdistill.system.terminal import open_console


def compare(
    recipe: str | Path,
    changes: Changes = (),
    *,
    methods: str | Sequence[str] | None = None,
    seeds: str | Sequence[int] = (0, 1, 2),
    run_dir: str | Path | None = None,
    equal: str = "steps",
    reference: str | None = None,
    dry_run: bool = False,
    jobs: int = 1,
    against: str | None = None,
    trust: bool = False,
    console: Console | None = None,
) -> list[dict[str, Any]]:
    """Train several methods over several seeds with one teacher, and return the table.

    The command ``segdistill compare`` calls this function. Call it again to resume, or to add methods and seeds.

    Args:
        recipe: A built-in recipe or a YAML file.
        changes: Changes to it, for all methods.
        methods: Methods, as in ``"kd,gskd:terms.gskd.samples=8"`` or a list of such parts. The student alone is always
            added. By default the recipe's method.
        seeds: Whole numbers.
        run_dir: The folder of the comparison; by default ``runs/RECIPE-comparison``.
        equal: What all methods have in common: ``steps``, ``time`` or ``flops``. With ``time``, every method trains for
            the seconds that the reference takes for the recipe's steps. Steps are measured on this machine before the
            runs, in blocks in which the methods take turns, and decided once.
        reference: The row whose run sets the time or the operations; by default the student alone, ``none``.
        dry_run: Print the runs that remain and how long they take. Write nothing and return an empty table.
        jobs: The number of runs at the same time, each in a separate process. They share the threads.
        against: The row to which the differences with intervals refer; by default the student alone, at
            equal time or operations with its longer run.
        trust: Import the code that a run's folder names.
        console: The console to print on; by default standard output.

    Returns:
        One record for each method, the student alone first and the teacher last, with the keys of ``comparison.json``.

    Raises:
        UserError: At a mistake that the user can correct; or, after the last run, if runs failed.

    Example::

        table = segdistill.compare("folder", {"data.root": "my_images"}, methods="kd,gskd", seeds=[0, 1, 2])
        [(row["method"], row["miou_percent"]) for row in table]
    """
    arguments, console = as_arguments(changes), console or open_console()
    checked = check_recipe(recipe, arguments, trust=trust)
    if jobs > 1 and checked.recipe.train.devices != 1:
        raise UserError(f"--jobs {jobs} runs several processes of one device each; give train.devices=1, or --jobs 1")
    if code_of_terms(checked.recipe):  # the plan depends on which of them need a teacher
        check_terms(checked.recipe)
    typed = methods if methods is None or isinstance(methods, str) else ",".join(methods)
    numbers = seeds if isinstance(seeds, str) else ",".join(map(str, seeds))
    planned = plan(recipe, arguments, typed, numbers)
    budget = check_equal(equal, reference, planned)
    rows = rows_at(planned, budget)
    if against is not None and against not in rows:
        near = nearest(against, rows)
        hint = f" (did you mean '{near}'?)" if near else ""
        raise UserError(f"--against: there is no row '{against}'{hint}; give one of {', '.join(rows)}")
    folder = Path(run_dir) if run_dir is not None else in_runs(f"{checked.recipe.name}-comparison")
    for run in first_runs(planned.runs).values():
        check_terms(run.recipe, f"method '{run.method}': ")
    for line in repeated_rows(planned):
        console.print(line, soft_wrap=True)
    with idle_threads(console):
        if dry_run:
            from segdistill.comparison.estimate import estimate

            estimate(planned, folder, console=console, layout=checked.layout, equal=budget)
            return []
        from segdistill.comparison.compare import compare as run_all

        summary = run_all(
            planned,
            folder,
            console=console,
            layout=checked.layout,
            jobs=jobs,
            equal=budget,
            against=against or row_of_alone(budget),
        )
    records: list[dict[str, Any]] = summary.record()["table"]
    return records


def sweep(
    recipe: str | Path,
    changes: Changes,
    dimensions: Sequence[str],
    *,
    trials: int = 20,
    run_dir: str | Path | None = None,
    trust: bool = False,
    console: Console | None = None,
) -> None:
    """Search for the values of a recipe's keys with the best validation score.

    The command ``segdistill sweep`` calls this function. Call it again to resume, or to add trials.

    Args:
        recipe, changes, trust, console: As for :func:`compare`.
        dimensions: Values to try: ``KEY=LOW..HIGH``, ``KEY=LOW..HIGH:log`` or ``KEY=A,B,C``.
        trials: Number of trials in all, including those that already exist. There are fewer if the ranges have fewer
            combinations of values.
        run_dir: The folder of the sweep; by default ``runs/RECIPE-METHOD-sweep``.

    Raises:
        UserError: At a mistake that the user can correct.
    """
    arguments, console = as_arguments(changes), console or open_console()
    checked = check_recipe(recipe, arguments, trust=trust)
    searched = search(recipe, arguments, dimensions)
    for recipe_at_end in searched.ends:
        check_terms(recipe_at_end)
    name = f"{checked.recipe.name}-{checked.recipe.method}-sweep"
    folder = Path(run_dir) if run_dir is not None else in_runs(name)
    with idle_threads(console):
        from segdistill.comparison.sweep import sweep as run_trials

        run_trials(searched, folder, trials=trials, console=console, layout=checked.layout)
