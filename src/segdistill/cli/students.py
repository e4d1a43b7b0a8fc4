"""Commands for the student of a run: scores, pictures, files, the hub."""

from pathlib import Path
from typing import Annotated

import typer

from segdistill.cli.options import ChangesArgument, ImagesOption, RunArgument, TrustOption, examples

group = typer.Typer()


@group.command(
    epilog=examples(
        "segdistill evaluate runs/folder-dist-s0",
        "segdistill evaluate runs/folder-dist-s0 data.root=other_images split=val",
    )
)
def evaluate(run: RunArgument, changes: ChangesArgument = None, trust: TrustOption = False) -> None:
    """Score a run's student on its data set, or on another with data.root=DIR and split=val."""
    from segdistill.cli import commands

    commands.evaluate(run, changes or [], trust=trust)


@group.command(
    epilog=examples(
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


@group.command(
    epilog=examples(
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


@group.command(
    epilog=examples(
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


@group.command(
    epilog=examples(
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


@group.command(
    epilog=examples(
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


@group.command(
    epilog=examples(
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


@group.command(
    epilog=examples(
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
