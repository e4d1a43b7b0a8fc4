"""Content of the report of a run or of a comparison, read from its folder."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from segdistill.errors import UserError
from segdistill.reports.facts import STARTED_BY
from segdistill.reports.html.alone import is_alone
from segdistill.reports.html.data import Measured, Record, RunRecords, read_run, value_of
from segdistill.reports.summary import Entry, Summary, summarize
from segdistill.runs.json_files import read_json
from segdistill.runs.metric import Metric, metric_of

ALONE, TEACHER = "student alone", "teacher"


@dataclass(frozen=True)
class ShownRun:
    """One run of the report.

    Attributes:
        method: The name of its method in tables.
        seed: Its seed.
        records: Its records.
    """

    method: str
    seed: int
    records: RunRecords


@dataclass(frozen=True)
class Content:
    """Content of a report.

    Attributes:
        title: The title.
        kind: "run" or "comparison".
        folder: The folder.
        recipe: The recipe of the run, or the one that all runs share.
        summary: The tables.
        runs: The runs that have begun; those of the student alone first.
        teacher: The teacher's run, if the teacher was trained here.
        commands: The commands that started it and repeat it, by their purpose.
        measured: What was measured for the report.
        published: The published results of each method, in words.
        planned: The number of runs in all.
        has_pixels: Whether the record of a comparison has the frequencies of the classes.
        reference: The method to which the differences refer.
        alone: The rows of the student alone.
    """

    title: str
    kind: str
    folder: Path
    recipe: Record
    summary: Summary
    runs: tuple[ShownRun, ...]
    teacher: RunRecords | None
    commands: Mapping[str, str]
    measured: Measured
    published: Mapping[str, str] = field(default_factory=dict)
    planned: int = 1
    has_pixels: bool = False
    reference: str = ALONE
    alone: frozenset[str] = frozenset({ALONE})

    @property
    def over(self) -> str:
        """The reference, in a sentence."""
        return f"the {ALONE}" if self.reference == ALONE else self.reference

    @property
    def metric(self) -> Metric:
        """The metric that networks are compared by."""
        return metric_of(next((run.records.result for run in self.runs if run.records.result), {}))

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, the student alone first if there is one."""
        return tuple(dict.fromkeys(run.method for run in self.runs))

    def results(self, method: str) -> dict[int, Record]:
        """Return the results of a method's finished runs, by seed."""
        return {
            run.seed: run.records.result for run in self.runs if run.method == method and run.records.result is not None
        }

    def scores(self, method: str) -> tuple[float, ...]:
        """Return the scores of a method in percent, seed by seed."""
        return tuple(100 * result[self.metric.key] for result in self.results(method).values())

    def gains(self, method: str) -> tuple[float, ...]:
        """Return the gains of a method over the reference in points, for the seeds that both have finished."""
        other, key = self.results(self.reference), self.metric.key
        return tuple(100 * (run[key] - other[seed][key]) for seed, run in self.results(method).items() if seed in other)

    def on_val(self, method: str) -> float | None:
        """Return the mean score of a method on val, or on the reported split if val's is missing; None without any."""
        key, results = self.metric.key, self.results(method).values()
        return fmean(result.get(f"val_{key}") or result[key] for result in results) if results else None

    def _best(self, methods: Sequence[str]) -> str | None:
        scores = {method: score for method in methods if (score := self.on_val(method)) is not None}
        return max(scores, key=scores.__getitem__, default=None)

    @property
    def teacher_result(self) -> Record | None:
        """The scores of the teacher on the reported split: those of its run, or those that a student's run records."""
        if self.teacher is not None and self.teacher.result is not None:
            return self.teacher.result
        results = (run.records.result or {} for run in self.runs)
        return next((result["teacher"] for result in results if isinstance(result.get("teacher"), dict)), None)

    @property
    def best(self) -> str | None:
        """The distilled student with the highest mean score on val; None if none is finished."""
        return self._best([method for method in self.methods if method not in self.alone])

    @property
    def winner(self) -> ShownRun | None:
        """The run to use: the best run of the best method on val, which may be the student alone."""
        best = self._best(self.methods)
        key = f"val_{self.metric.key}"
        finished = [run for run in self.runs if run.method == best and run.records.result is not None]
        return max(finished, key=lambda run: value_of(run.records.result, key) or 0.0, default=None)


def use_of(folder: Path) -> str:
    """Return the command that segments images with the student of a run."""
    return f"{shlex.join(['segdistill', 'predict', str(folder)])} IMAGE... --out predictions"


def run_content(folder: Path, measured: Measured | None = None) -> Content:
    """Return the content of the report of one run: its student, the student alone and the teacher.

    Raises:
        UserError: The folder holds no run, or a result is damaged.
    """
    main, measured = read_run(folder), measured or Measured()
    if main is None:
        raise UserError(
            f"{folder} holds no run or comparison; give a folder that distill, train or compare has written"
        )
    method = str(value_of(main.result, "method") or value_of(main.recipe, "method") or "distilled")
    seed = int(value_of(main.recipe, "seed") or 0)
    alone = read_run(folder / "alone")
    found = [("none", folder / "alone", alone)] if alone is not None and method != "none" else []
    found.append((method, folder, main))
    entries = [Entry(name, seed, place) for name, place, _ in found]
    recipe = {"name": folder.name, **main.recipe}
    return Content(
        title=f"{recipe['name']}: {_shown(method)}, seed {seed}",
        kind="run",
        folder=folder,
        recipe=recipe,
        summary=_summary(entries, recipe, measured.pixels, folder / "teacher"),
        runs=tuple(ShownRun(_shown(name), seed, records) for name, _, records in found),
        teacher=read_run(folder / "teacher"),
        commands=_commands([main], folder),
        measured=measured,
        planned=len(found),
    )


def comparison_content(folder: Path, measured: Measured | None = None) -> Content:
    """Return the content of the report of a comparison.

    Raises:
        UserError: The record of the comparison, or a result, is missing or damaged.
    """
    record, measured = read_json(folder / "comparison.json", "runs"), measured or Measured()
    recipe = {"name": folder.name, **(record.get("recipe") or {})}
    entries = [
        Entry(str(run["method"]), int(run["seed"]), folder / run["folder"], run.get("problem"))
        for run in record["runs"]
    ]
    pixels, named = record.get("pixels") or measured.pixels, record.get("named") or {}
    has_pixels = any((record.get("pixels") or {}).values())
    records = {entry: read_run(entry.folder) for entry in entries}
    runs = tuple(ShownRun(_shown(entry.method), entry.seed, each) for entry, each in records.items() if each)
    published = {str(row.get("method")): row.get("published") for row in record.get("table") or ()}
    against = str(value_of(record, "differences", "reference") or "none")
    summary = _summary(entries, recipe, pixels, folder / "teacher", named, against)
    if has_pixels and record.get("facts"):  # those of comparison.md: some cannot be computed from the runs
        summary = replace(summary, facts=tuple(map(str, record["facts"])))
    content = Content(
        title=summary.title,
        kind="comparison",
        folder=folder,
        recipe=recipe,
        summary=summary,
        runs=runs,
        teacher=read_run(folder / "teacher"),
        commands=_commands([run.records for run in runs], None),
        measured=measured,
        published={_shown(method): text for method, text in published.items() if text},
        planned=len(entries),
        has_pixels=has_pixels,
        reference=_shown(against),
        alone=frozenset(_shown(entry.method) for entry in entries if is_alone(entry.method, named)),
    )
    winner = content.winner
    if winner is None:
        return content
    return replace(content, commands={**content.commands, "Use the best student": use_of(winner.records.folder)})


def _shown(method: str) -> str:
    return ALONE if method == "none" else method


def _summary(
    entries: Sequence[Entry],
    recipe: Record,
    pixels: Mapping[str, int],
    teacher: Path,
    named: Mapping[str, str] | None = None,
    against: str = "none",
) -> Summary:
    """Return the tables. Where the frequencies of the classes are unknown, they do not group the classes."""
    known = any(pixels.values())
    if not known:
        results = (read_run(entry.folder) for entry in entries)
        result = next((run.result for run in results if run is not None and run.result is not None), {})
        pixels = dict.fromkeys(result.get(metric_of(result).classes) or (), 0)
    summary = summarize(entries, recipe, pixels, teacher=teacher, named=named, against=against, is_complete=False)
    if known:
        return summary
    return replace(
        summary,
        methods=summary.methods.without("common_percent", "rare_percent"),
        classes=summary.classes.without("group", "share_percent"),
    )


def _commands(runs: Sequence[RunRecords], folder: Path | None) -> dict[str, str]:
    """Return the command that was typed, if it is recorded, and one that repeats a run from its folder."""
    commands = {}
    typed: Any = next((run.environment["command"] for run in runs if run.environment.get("command")), None)
    if isinstance(typed, list) and len(typed) > 1 and typed[0] in STARTED_BY:
        commands["Started with"] = shlex.join(["segdistill", *map(str, typed[1:])])
    if folder is not None and (folder / "recipe.yaml").is_file():
        commands["Repeat it with all its settings"] = shlex.join(
            ["segdistill", "distill", str(folder / "recipe.yaml"), "--run-dir", f"{folder}-again"]
        )
        if (folder / "student.safetensors").is_file():
            commands["Use its student"] = use_of(folder)
    return commands
