"""Job that draws what the networks of a run have learned."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from segdistill.errors import UserError
from segdistill.jobs.checks import check_run_folder, layout_of_run
from segdistill.jobs.threads import idle_threads
from segdistill.recipes import Recipe, load
from segdistill.recipes.own_code import named_code
from segdistill.system.terminal import open_console

if TYPE_CHECKING:
    from torch import nn

    from segdistill.training.session import Session

FOLDER = Path("figures") / "explain"
COUNT = 3


def explain(
    runs: Sequence[str | Path],
    *,
    images: Sequence[str | Path] = (),
    count: int = COUNT,
    feature: str = "head",
    trust: bool = False,
    console: Console | None = None,
) -> list[Path]:
    """Write figures of teacher, student alone and student into ``figures/explain/`` of each run; return the files.

    The command ``segdistill explain`` calls this function.

    Args:
        runs: Folders of runs.
        images: Image files. Their labels are the teacher's predictions, or the student's without a teacher.
        count: The number of images of the data set, evenly spaced, if no files are given.
        feature: The feature that Grad-CAM, t-SNE and GSKD read.
        trust: Import the code that a folder names as its network.
        console: The console to print on; by default standard output.

    Raises:
        UserError: A folder holds no run of segmentation, an image does not exist, or a network has no such feature.
    """
    console, folders, files = console or open_console(), [Path(run) for run in runs], [Path(file) for file in images]
    for file in files:
        if not file.is_file():
            raise UserError(f"no such picture: {file}")
    recipes = [_checked(folder, trust) for folder in folders]
    layouts = [layout_of_run(folder, recipe) for folder, recipe in zip(folders, recipes, strict=True)]
    written = []
    with idle_threads(console, silent=True):
        from segdistill.training.session import Session

        for folder, recipe, layout in zip(folders, recipes, layouts, strict=True):
            found, lines = _write(Session(recipe, layout), folder, files, count, feature)
            for line in (*lines, *map(str, found)):
                console.print(line, soft_wrap=True, highlight=False, markup=False)
            written += found
    return written


def _checked(folder: Path, trust: bool) -> Recipe:
    """Return the recipe of a run. This does not import PyTorch."""
    for name in ("comparison.json", "sweep.json"):
        if (folder / name).is_file():
            raise UserError(f"{folder} holds several runs; give the folders of the runs in it")
    check_run_folder(folder)
    recipe = load(folder / "recipe.yaml")
    if not trust and (code := named_code(recipe)):
        raise UserError(f"{folder} names code to import, '{', '.join(code)}'; if you trust it, give --trust")
    return recipe


def _write(
    session: "Session", folder: Path, files: Sequence[Path], count: int, feature: str
) -> tuple[list[Path], list[str]]:
    """Write the figures of one run; return them, and lines on what is in them."""
    from segdistill.data import SegmentationDataset
    from segdistill.evaluation.scoring import scoring_transform
    from segdistill.explain.examples import dataset_examples, file_examples
    from segdistill.explain.write import Figures

    recipe, dataset = session.recipe, session.dataset(session.final_split)
    if not isinstance(dataset, SegmentationDataset):
        raise UserError(f"{folder} classifies images; explain draws segmentation only")
    networks, missing = _networks(session, folder)
    transform = scoring_transform(recipe.data, dataset.task, recipe.evaluation)
    if files:
        name, network = next(iter(networks.items()))
        examples = file_examples(
            files, transform, network, dataset.classes.void, scale=recipe.data.scale, source=f"the {name}"
        )
    else:
        examples = dataset_examples(dataset, transform, count)
    figures = Figures(networks, examples, dataset.classes, folder / FOLDER, feature=feature, seed=recipe.seed)
    written, lines = figures.write()
    return written, [*missing, *lines]


def _networks(session: "Session", folder: Path) -> tuple[dict[str, "nn.Module"], list[str]]:
    """Return the teacher, the student alone and the student by name, and a line if the teacher is missing."""
    from segdistill.explain.write import TEACHER
    from segdistill.training.run_networks import trained_networks

    recipe = session.recipe
    folders = {"student alone": folder}
    if recipe.distils:
        folders = {"student alone": folder / "alone", recipe.method: folder}
    there = {name: run for name, run in folders.items() if (run / "student.json").is_file()}
    students, teacher, problem = trained_networks(session, there, folder, session.dataset("train").classes)
    networks = students if teacher is None else {TEACHER: teacher, **students}
    return networks, [f"the teacher is not in the figures: {problem}"] if problem else []
