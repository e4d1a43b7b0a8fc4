"""Commands of the command line. PyTorch is imported inside the functions that need it, so that help is fast."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from segdistill.errors import Stopped, UserError
from segdistill.system import processes, threads
from segdistill.system.memory import lacks_memory, short_of_memory
from segdistill.system.working_folder import search_last
from segdistill.version import __version__

app = typer.Typer(
    help="Distill a large semantic-segmentation network into a small one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _examples(*commands: str) -> str:
    """Return the last part of a command's help. Typer keeps only line breaks that are empty lines."""
    return "\n\n".join(("Examples:", *commands))


def _recipe_names(typed: str) -> list[str]:
    """Return the built-in recipes that complete a name in a shell."""
    from segdistill.recipes import BUILTIN

    return [name for name in BUILTIN if name.startswith(typed)]


RecipeArgument = Annotated[
    str,
    typer.Argument(
        help="A built-in recipe (see `segdistill recipes`) or a YAML file.",
        autocompletion=_recipe_names,
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


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"segdistill {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Distill a large semantic-segmentation network into a small one."""
    from segdistill.cli.screen import listen

    listen()


@app.command(
    epilog=_examples(
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


@app.command(
    epilog=_examples(
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


@app.command(
    epilog=_examples(
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


@app.command(
    epilog=_examples(
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


@app.command(
    epilog=_examples(
        "segdistill evaluate runs/folder-dist-s0",
        "segdistill evaluate runs/folder-dist-s0 data.root=other_images split=val",
    )
)
def evaluate(run: RunArgument, changes: ChangesArgument = None, trust: TrustOption = False) -> None:
    """Score a run's student on its data set, or on another with data.root=DIR and split=val."""
    from segdistill.cli import commands

    commands.evaluate(run, changes or [], trust=trust)


@app.command(
    epilog=_examples(
        "segdistill predict runs/folder-dist-s0 new_images --out predicted",
        "segdistill predict runs/folder-dist-s0/student.onnx a.jpg drive.mp4",
    )
)
def predict(
    student: Annotated[
        Path, typer.Argument(help="Folder of a run, or a file of `segdistill export`.", metavar="STUDENT")
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(help="Images, folders of images, videos, or the index of a camera.", metavar="INPUT..."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for overlays, labels and the legend.")] = Path(
        "predictions"
    ),
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.1, help="Stop each video, or the camera, after this time.")
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Segment images, videos or a camera: overlays, the class of every pixel, a legend, and the frame rate.

    A camera is segmented until Ctrl-C. Videos and cameras need PyAV: pip install "segdistill[video]".
    """
    from segdistill.cli.screen import console
    from segdistill.jobs import predict

    predict.predict(student, inputs, out=out, seconds=seconds, trust=trust, console=console)


@app.command(
    epilog=_examples(
        "segdistill report runs/folder-dist-s0",
        "segdistill report runs/folder-comparison",
    )
)
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs or comparisons.", metavar="RUN...")],
    trust: TrustOption = False,
) -> None:
    """Write report.html into the folder of each run or comparison: tables, curves and pictures in one file."""
    from segdistill.cli.screen import console
    from segdistill.jobs import report

    report.report(runs, trust=trust, console=console)


@app.command(
    epilog=_examples(
        "segdistill explain runs/folder-dist-s0",
        "segdistill explain runs/folder-dist-s0 --image street.jpg --feature stage4",
    )
)
def explain(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.", metavar="RUN...")],
    images: Annotated[
        list[Path] | None,
        typer.Option("--image", help="An image file; repeat it for more. By default images of the data set."),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Number of images of the data set.")] = 3,
    feature: Annotated[
        str, typer.Option("--feature", help="Feature that is drawn; `segdistill taps MODEL` lists them.")
    ] = "head",
    trust: TrustOption = False,
) -> None:
    """Draw what teacher and students have learned: Grad-CAM, t-SNE of features, similarities of classes, GSKD."""
    from segdistill.cli.screen import console
    from segdistill.jobs import explain

    explain.explain(runs, images=images or [], count=count, feature=feature, trust=trust, console=console)


@app.command(
    epilog=_examples(
        "segdistill export runs/folder-dist-s0",
        "segdistill export runs/folder-dist-s0 data.root=moved_images --format onnx --raw --out exported",
    )
)
def export(
    run: RunArgument,
    changes: ChangesArgument = None,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            help="Formats joined by commas: onnx, int8 (quantized ONNX), pt2 (torch.export), openvino, executorch.",
        ),
    ] = "onnx,int8,pt2",
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the files; by default the run's.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Files that return scores instead of classes.")] = False,
    images: ImagesOption = 100,
    trust: TrustOption = False,
) -> None:
    """Write a run's student as files that run without segdistill, check them against PyTorch, and print a table."""
    from segdistill.cli.screen import console
    from segdistill.jobs import export

    export.export(run, changes or [], formats=formats, out=out, raw=raw, images=images, trust=trust, console=console)


@app.command(
    epilog=_examples(
        "segdistill bench runs/folder-dist-s0",
        "segdistill bench runs/folder-dist-s0 --images 20",
    )
)
def bench(
    run: RunArgument,
    changes: ChangesArgument = None,
    images: ImagesOption = 100,
    trust: TrustOption = False,
) -> None:
    """Measure size, score and milliseconds of a run's student and its exported files on this machine."""
    from segdistill.cli.screen import console
    from segdistill.jobs import export

    export.bench(run, changes or [], images=images, trust=trust, console=console)


@app.command(
    epilog=_examples(
        "segdistill hub runs/folder-dist-s0 --license cc-by-4.0",
        "segdistill hub runs/folder-dist-s0 --license other --out to_publish",
    )
)
def hub(
    run: RunArgument,
    license: Annotated[
        str | None,
        typer.Option("--license", help="License of the weights, as in apache-2.0; always needed.", metavar="NAME"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write, missing or empty; by default RUN/hub.")
    ] = None,
) -> None:
    """Write a run's student as a folder for a model hub: weights, exported files and a model card."""
    from segdistill.cli.screen import console
    from segdistill.jobs import hub

    hub.hub(run, license=license, out=out, console=console)


@app.command(
    epilog=_examples(
        "segdistill push runs/folder-dist-s0/hub my-team/student",
        "segdistill push to_publish my-team/student --private",
    )
)
def push(
    folder: Annotated[Path, typer.Argument(help="Folder that `segdistill hub` has written.", metavar="FOLDER")],
    name: Annotated[str, typer.Argument(help="Repository on the hub; created if needed.", metavar="ORG/NAME")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Upload a folder to the Hugging Face Hub. It needs a token: `hf auth login`, or HF_TOKEN."""
    from segdistill.cli.screen import console
    from segdistill.jobs import hub

    hub.push(folder, name, private=private, console=console)


@app.command(
    epilog=_examples(
        "segdistill doctor folder data.root=my_images",
        "segdistill doctor mine.yaml train.precision=bf16-mixed",
    )
)
def doctor(recipe: RecipeArgument, changes: ChangesArgument = None, trust: TrustOption = False) -> None:
    """Check a recipe before training: data, labels, teacher, compared features, a few steps, estimated time."""
    from segdistill.cli import commands

    commands.doctor(recipe, changes or [], trust=trust)


@app.command(
    epilog=_examples(
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


@app.command(
    epilog=_examples(
        "segdistill recipes folder",
        "segdistill recipes --key train.precision",
    )
)
def recipes(
    name: Annotated[
        str | None,
        typer.Argument(help="Name of a recipe to print as YAML.", autocompletion=_recipe_names, metavar="[RECIPE]"),
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


@app.command(
    epilog=_examples(
        "segdistill losses",
        "segdistill recipes --key terms.gskd",
    )
)
def losses() -> None:
    """List the losses and the named methods."""
    from segdistill.cli import lists

    lists.losses()


@app.command(
    epilog=_examples(
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


@app.command(
    epilog=_examples(
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


def main() -> None:
    """Run the command line. The exit status is 0, 2 for an error of the user, or 130 after Ctrl-C."""
    threads.prepare()
    arguments = sys.argv[1:]
    search_last()  # so that student.model=my_module:build finds a module in the working folder
    debug = "--debug" in arguments
    try:
        app([argument for argument in arguments if argument != "--debug"], prog_name="segdistill", standalone_mode=True)
    except Stopped:
        print("stopped; run the same command to resume", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        processes.end_started()
        line = None if debug else _line_of(error)
        if line is None:
            raise
        _fail(line)


def _line_of(error: Exception) -> str | None:
    """Return the line that tells a user of an error; None if it is a bug, which needs its traceback."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
    if lacks_memory(error):
        remedy = "close other programs that use the GPU (nvidia-smi), or lower train.batch_size or data.scale"
        return str(short_of_memory("the command", error, remedy))
    return None


def _fail(text: str) -> NoReturn:
    from segdistill.system.terminal import printable

    print(f"error: {printable(text)}", file=sys.stderr)
    sys.exit(2)
