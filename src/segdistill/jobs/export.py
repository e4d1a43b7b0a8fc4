"""Jobs that export a run's student to files, and measure these files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from segdistill.errors import UserError
from segdistill.export.formats import DEFAULT, FORMATS, REPORT, check_formats, check_packages
from segdistill.jobs.checks import Changes, as_arguments, check_run_folder, layout_of_run
from segdistill.jobs.threads import idle_threads
from segdistill.recipes import Recipe, load
from segdistill.system.terminal import open_console

if TYPE_CHECKING:
    from segdistill.data import Layout
    from segdistill.export.images import LabeledImages
    from segdistill.export.program import Program

IMAGES = 100
"""The default number of validation images for scores."""


def export(
    folder: str | Path,
    changes: Changes = (),
    *,
    formats: str = DEFAULT,
    out: str | Path | None = None,
    raw: bool = False,
    images: int = IMAGES,
    trust: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Export a run's student, check each file against PyTorch, and return the content of ``export.json``.

    The command ``segdistill export`` calls this function.

    Args:
        folder: The folder of the run.
        changes: Changes to its recipe, as in ``{"data.root": "my_images"}`` if the images were moved.
        formats: Formats joined by commas: ``onnx``, ``int8``, ``pt2``, ``openvino``, ``executorch``.
        out: The folder for the files; by default the run's.
        raw: Return scores, float32 (N, C, H, W), instead of classes, uint8 (N, H, W).
        images: The number of validation images for scores, evenly spaced.
        trust: Import the code that the run's folder names as its network.
        console: The console to print on; by default standard output.

    Raises:
        UserError: An unknown format, a missing package, a folder without a student, or a network that cannot be
            exported.
    """
    chosen = check_formats(formats)
    check_packages(chosen)
    folder, console = Path(folder), console or open_console()
    recipe, layout = _checked(folder, changes)
    with idle_threads(console, silent=True):
        from segdistill.export.images import LabeledImages
        from segdistill.export.machine import processor
        from segdistill.export.to_int8 import CALIBRATION_IMAGES
        from segdistill.export.write import Writer
        from segdistill.reports.export_table import export_table
        from segdistill.runs.records import write_json

        program, description = _program(folder, raw=raw, trust=trust)
        target = Path(out) if out is not None else folder
        short_side = description.get("short_side")
        validation = LabeledImages(recipe, layout, "val", images, short_side)
        _check_classes(folder, description, validation.classes.names)

        def training() -> LabeledImages:
            return LabeledImages(recipe, layout, "train", CALIBRATION_IMAGES, short_side)

        def note(text: str) -> None:
            console.print(text, soft_wrap=True)

        report = Writer(program, description, validation, training, note).write(chosen, target)
        report["machine"] = processor()
        write_json(target / REPORT, report)
        console.print(export_table(report))
        for line in (_explained(report, target), *_differences(description, _protocol(recipe, validation))):
            console.print(line, soft_wrap=True)
    return report


def bench(
    folder: str | Path,
    changes: Changes = (),
    *,
    images: int = IMAGES,
    trust: bool = False,
    console: Console | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure size, score and time of a run's student and of its exported files on this machine.

    The command ``segdistill bench`` calls this function.

    Args:
        folder, changes, images, trust, console: As for :func:`export`.

    Raises:
        UserError: As for :func:`export`.
    """
    folder, console = Path(folder), console or open_console()
    recipe, layout = _checked(folder, changes)
    there = [name for name, format in FORMATS.items() if (folder / format.file).exists()]
    check_packages(there, writes=False)
    with idle_threads(console, silent=True):
        from segdistill.export.bench import bench as measured
        from segdistill.export.images import LabeledImages
        from segdistill.export.machine import processor
        from segdistill.reports.export_table import bench_table

        program, description = _program(folder, raw=False, trust=trust)
        validation = LabeledImages(recipe, layout, "val", images, description.get("short_side"))
        _check_classes(folder, description, validation.classes.names)

        def note(text: str) -> None:
            console.print(text, soft_wrap=True)

        records = measured(program, folder / "student.safetensors", folder, validation, note)
        console.print(bench_table(records, "top1" if validation.classifies else "miou"))
        protocol = _protocol(recipe, validation)
        for line in (f"ms: one image, one thread, {processor()}", *_differences(description, protocol)):
            console.print(line, soft_wrap=True)
        if not there:
            console.print(f"no exported files yet: segdistill export {folder}", soft_wrap=True)
    return records


def _checked(folder: Path, changes: Changes) -> tuple[Recipe, "Layout"]:
    """Return the recipe and the data of a run. This does not import PyTorch."""
    check_run_folder(folder)
    if not (folder / "student.safetensors").is_file():
        raise UserError(f"{folder} has no student.safetensors; repeat the run's command, which writes it")
    recipe = load(folder / "recipe.yaml", as_arguments(changes))
    return recipe, layout_of_run(folder, recipe)


def _program(folder: Path, *, raw: bool, trust: bool) -> tuple["Program", dict[str, Any]]:
    from segdistill import models
    from segdistill.evaluation.finite import check_loaded
    from segdistill.export.program import Program

    network, description = models.load(folder, trust=trust), models.read_description(folder)
    check_loaded(network, f"{folder}: the student's")
    if description.get("short_side") is not None:  # images of this short side are not scaled again
        description = {**description, "scale": 1.0}
    return Program.of(network, description, raw=raw), description


def _check_classes(folder: Path, description: dict[str, Any], names: tuple[str, ...]) -> None:
    known = description.get("classes") or []
    if len(names) != description["num_classes"] or (known and tuple(known) != names):
        raise UserError(
            f"the student in {folder} has other classes than the data set, or in another order; give data with the "
            "student's classes"
        )


def _explained(report: dict[str, Any], target: Path) -> str:
    timed, images = report["timed"], report["images"]
    return (
        f"in {target}; scores on {images['scored']} of {images['all']} images of {images['split']}; "
        f"ms: one image of {timed['height']}x{timed['width']}, one thread, {report['machine']}"
    )


def _protocol(recipe: Recipe, images: "LabeledImages") -> tuple[str, ...]:
    """Return the keys by which the run's scoring differs from one pass over whole images."""
    return () if images.classifies else recipe.evaluation.changed


def _differences(description: dict[str, Any], protocol: Sequence[str]) -> list[str]:
    """Return lines on what the files leave to their user, while the run's own scores and predictions include it."""
    short_side, window = (description.get(key) for key in ("short_side", "window"))
    lines = []
    if short_side is not None:
        lines.append(
            f"the files take images resized to a short side of {short_side}, and are measured on images and labels of "
            "that size; segdistill.load and predict resize them"
        )
    if window is not None:
        lines.append(
            f"the files segment whole images, while the run was scored in windows of {window[0]}x{window[1]}: its own "
            "score may differ"
        )
    if protocol:
        lines.append(
            f"the run was scored with {', '.join(protocol)}; the scores in this table are of one pass over each image, "
            "and an absent class counts as in the run"
        )
    return lines
