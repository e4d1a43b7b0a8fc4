"""Commands that train: `distill`, `train`, `compare`, `sweep`."""

from pathlib import Path
from typing import Annotated

import typer

from segdistill.cli.options import ChangesArgument, RecipeArgument, ResumeOption, RunDirOption, TrustOption, examples

group = typer.Typer()


@group.command(
    epilog=examples(
        "segdistill distill quickstart train.budget=0.01",
        "segdistill distill folder data.root=my_images --run-dir runs/mine",
    )
)
def distill(
    recipe: RecipeArgument,
    changes: ChangesArgument = None,
    run_dir: RunDirOption = None,
    resume: ResumeOption = False,
    trust: TrustOption = False,
) -> None:
    """Train a student with a teacher, train the same student alone, and print a table of both.

    If the run was stopped, the same command resumes it.
    """
    from segdistill.cli.screen import console
    from segdistill.jobs import distill

    distill.distill(recipe, changes or [], run_dir=run_dir, resume=resume, trust=trust, console=console)


@group.command(
    epilog=examples(
        "segdistill train folder data.root=my_images",
        "segdistill train folder data.root=my_images --teacher",
    )
)
def train(
    recipe: RecipeArgument,
    changes: ChangesArgument = None,
    run_dir: RunDirOption = None,
    resume: ResumeOption = False,
    trust: TrustOption = False,
    teacher: Annotated[
        bool, typer.Option("--teacher", help="Train the recipe's teacher instead of its student.")
    ] = False,
) -> None:
    """Train the student, or with --teacher the teacher, on labels alone."""
    from segdistill.cli.screen import console
    from segdistill.jobs import distill

    distill.train(recipe, changes or [], teacher=teacher, run_dir=run_dir, resume=resume, trust=trust, console=console)


@group.command(
    epilog=examples(
        "segdistill compare quickstart --methods kd,cwd,dist+gskd --seeds 0,1,2 --dry-run",
        "segdistill compare mine.yaml --methods kd,mine=none:terms.at.weight=500 --seeds 0,1,2 --equal time",
    )
)
def compare(
    recipe: RecipeArgument,
    changes: ChangesArgument = None,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            help="Methods joined by commas, as in kd,gskd; with changes, as in gskd:terms.gskd.samples=8; with a "
            "name, as in mine=gskd:terms.gskd.samples=8. By default the recipe's method.",
        ),
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Whole numbers joined by commas.")] = "0,1,2",
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="Folder of the comparison; by default runs/RECIPE-comparison.")
    ] = None,
    equal: Annotated[
        str,
        typer.Option(
            "--equal",
            help="What all methods have in common: steps, time (measured on this machine before the runs) or flops.",
        ),
    ] = "steps",
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", help="The row whose run sets the time or the flops; by default the student alone (none)."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the runs that remain and how long they take; write nothing.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Runs at the same time, on one GPU or on many cores.")] = 1,
    against: Annotated[
        str | None, typer.Option("--against", help="Row that the differences refer to; by default the student alone.")
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Compare methods over several seeds, with one teacher and always with the student alone.

    If the comparison was stopped, the same command resumes it.
    """
    from segdistill.cli.screen import console
    from segdistill.jobs import compare

    compare.compare(
        recipe,
        changes or [],
        methods=methods,
        seeds=seeds,
        run_dir=run_dir,
        equal=equal,
        reference=reference,
        dry_run=dry_run,
        jobs=jobs,
        against=against,
        trust=trust,
        console=console,
    )


@group.command(
    epilog=examples(
        "segdistill sweep folder data.root=my_images --set terms.gskd.weight=1..50:log --trials 10",
        "segdistill sweep mine.yaml --set terms.gskd.samples=4..32 --set terms.gskd.stride=4,8,classes",
    )
)
def sweep(
    recipe: RecipeArgument,
    dimensions: Annotated[
        list[str],
        typer.Option(
            "--set", help="Values to try: KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C.", metavar="KEY=RANGE"
        ),
    ],
    changes: ChangesArgument = None,
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Number of trials in all, with those already in the folder.")
    ] = 20,
    method: Annotated[str | None, typer.Option("--method", help="A method; by default the recipe's.")] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Seed of the search and of every trial; by default the recipe's."),
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="Folder of the sweep; by default runs/RECIPE-METHOD-sweep.")
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Search for the values of keys, such as loss weights, with the best validation score.

    If the sweep was stopped, the same command resumes it.
    """
    from segdistill.cli.screen import console
    from segdistill.jobs import compare

    options = [f"{key}={value}" for key, value in (("method", method), ("seed", seed)) if value is not None]
    compare.sweep(
        recipe, [*(changes or []), *options], dimensions, trials=trials, run_dir=run_dir, trust=trust, console=console
    )
