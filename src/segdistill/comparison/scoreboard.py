"""Record of a comparison: the recipe that all runs share, the runs that failed, the tables so far."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segdistill.comparison.method_rows import ALONE
from segdistill.comparison.plan import Plan, PlannedRun, repeated_rows
from segdistill.comparison.row_code import KEY as CODE
from segdistill.comparison.row_code import RowCode
from segdistill.comparison.shared_inputs import KEY as INPUTS
from segdistill.comparison.shared_inputs import SharedInputs
from segdistill.comparison.table_files import write_tables
from segdistill.errors import UserError
from segdistill.recipes import Recipe, rows_of, teacher_rows
from segdistill.reports.method_table import PublishedValue
from segdistill.reports.summary import Entry, Summary, summarize
from segdistill.runs import lock
from segdistill.runs.json_files import damaged, read_json
from segdistill.runs.run_folder import completed, has_begun, refuse_other
from segdistill.system.processes import is_first_process

RECORD = "comparison.json"
LOGS = "logs"
BESIDE_RUNS = {
    LOGS,
    "comparison.md",
    "comparison.tex",
    "comparison.csv",
    "comparison_classes.csv",
    "comparison_differences.csv",
    "comparison_images.json",
    "equal_flops.json",
    "equal_time.json",
    "report.html",
    "speed.json",
    "teacher",
    "teachers",
}
"""The names in the folder of a comparison that are neither a run nor the record."""


class Scoreboard:
    """Record of a comparison in its folder. Only :meth:`write` changes files.

    Args:
        folder: The folder of the comparison. Runs that are already in it stay in the tables, even if the plan does not
            contain them.
        plan: The plan of the comparison.
        against: The method to which the differences with intervals refer.

    Attributes:
        shared: The recipe that all runs share, with the seed of the teacher that is in the folder.
        pixels: Number of pixels of each class in the training labels; empty until they are counted.
        named: For each row with a name, its method and changes.
        inputs: The inputs that all runs share, as they were at the first.
        code: The own losses of the rows, as they were at the first run of each row.

    Raises:
        UserError: If the folder holds the comparison of another recipe, or other files.
    """

    def __init__(self, folder: Path, plan: Plan, against: str = ALONE) -> None:
        self.folder, self.plan, self.shared = folder, plan, plan.shared
        self.pixels: dict[str, int] = {}
        self.named = dict(plan.named)
        self.against = against
        self.inputs, self.code = SharedInputs(folder / RECORD, {}), RowCode(folder / RECORD, {})
        self._before: list[dict[str, Any]] = []
        self._problems: dict[str, str] = {}
        if (folder / RECORD).exists():
            if any(folder.rglob("checkpoints/*.pt")) or any(folder.rglob("result.json")):
                self._resume(read_json(folder / RECORD, "recipe", "runs", "pixels"))
        elif folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file; give a folder with --run-dir")
        elif folder.is_dir() and (names := {file.name for file in folder.iterdir()} - {f"{RECORD}.tmp", lock.FILE}):
            self._check_left(names)

    def _resume(self, record: dict[str, Any]) -> None:
        recipe, runs = record["recipe"], record["runs"]
        named = record.get("named", {})  # missing in older records
        if not all(isinstance(each, dict) for each in (recipe, record["pixels"], named)) or not _are_runs(runs):
            raise damaged(self.folder / RECORD)
        self.shared = self.shared.model_copy(update={"seed": recipe.get("seed")})
        refuse_other(self.folder, "comparison", completed(recipe), _plain(self.shared))
        self.inputs, self.code = SharedInputs(self.folder / RECORD, record), RowCode(self.folder / RECORD, record)
        self.pixels = dict(record["pixels"])
        self.named = {**named, **self.named}
        self._before = [run for run in runs if (self.folder / run["folder"]).is_dir()]
        failed = {run["folder"]: run["problem"] for run in runs if "problem" in run}
        self._problems = {run: why for run, why in failed.items() if not (self.folder / run / "result.json").exists()}

    def _check_left(self, names: set[str]) -> None:
        """Raise a UserError unless the folder is a comparison that lost its record: runs of this plan and no others."""
        planned = {run.folder for run in self.plan.runs}
        others = sorted(names - planned - BESIDE_RUNS)
        if others or not any((self.folder / name / "recipe.yaml").is_file() for name in names & planned):
            raise UserError(
                f"{self.folder} is not empty and holds no comparison of these --methods and --seeds"
                f"{f' (but {others[0]})' if others else ''}; give another --run-dir"
            )

    @property
    def teacher_folder(self) -> Path:
        """The folder of the teacher's run, if the teacher is trained here."""
        return self.folder / "teacher"

    @property
    def failed(self) -> list[str]:
        """The folders of the planned runs that failed."""
        return [run.folder for run in self.plan.runs if run.folder in self._problems]

    def note(self, run: PlannedRun, problem: str | None) -> None:
        """Record the problem of a run that failed; None for a run that succeeded."""
        if problem is None:
            self._problems.pop(run.folder, None)
        else:
            self._problems[run.folder] = problem

    def summary(self, published: Mapping[str, Sequence[PublishedValue]] | None = None) -> Summary:
        """Return the tables of the runs so far."""
        return summarize(
            self._entries(),
            _plain(self.shared),
            self.pixels,
            teacher=self.teacher_folder,
            published=published,
            named=self.named,
            against=self.against,
            doubts=(*self.inputs.doubts, *repeated_rows(self.plan)),
        )

    def write(self, published: Mapping[str, Sequence[PublishedValue]] | None = None) -> Summary:
        """Write the tables of the runs so far, and return them."""
        summary = self.summary(published)
        if is_first_process():
            record = {"recipe": _plain(self.shared), "pixels": self.pixels, "named": self.named}
            content = {**record, INPUTS: self.inputs.known, CODE: self.code.known, **summary.record()}
            write_tables(self.folder / RECORD, content, summary.files())
        return summary

    def begun(self, runs: Iterable[PlannedRun]) -> dict[str, list[str]]:
        """Return, for each row, the folders of its runs that have begun: of these runs and of those in the record."""
        rows = {run["folder"]: str(run["method"]) for run in self._before}
        rows.update({run.folder: run.method for run in runs})
        folders: dict[str, list[str]] = {}
        for folder, row in rows.items():
            if has_begun(self.folder / folder):
                folders.setdefault(row, []).append(folder)
        return folders

    def _entries(self) -> list[Entry]:
        """Return an entry for each folder, sorted by method, in order of first appearance, and seed."""
        runs = {run["folder"]: (str(run["method"]), int(run["seed"])) for run in self._before}
        runs.update({run.folder: (run.method, run.recipe.seed) for run in self.plan.runs})
        order = list(dict.fromkeys(method for method, _ in runs.values()))
        return [
            Entry(method, seed, self.folder / folder, self._problems.get(folder))
            for folder, (method, seed) in sorted(runs.items(), key=lambda run: (order.index(run[1][0]), run[1][1]))
        ]


def published_values(plan: Plan) -> Mapping[str, Sequence[PublishedValue]]:
    """Return the published results of each method, to be shown next to the measured ones."""
    return {"teacher": teacher_rows(plan.shared), **{run.method: rows_of(run.recipe) for run in plan.runs}}


def _plain(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json")


def _are_runs(runs: object) -> bool:
    kinds = {"folder": str, "method": str, "seed": int}
    return isinstance(runs, list) and all(
        isinstance(run, dict) and all(isinstance(run.get(key), kind) for key, kind in kinds.items()) for run in runs
    )
