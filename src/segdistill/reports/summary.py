"""Results of a comparison so far: methods over seeds, scores by class, common and rare classes."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from segdistill.data.statistics.common_classes import RARE, common_classes
from segdistill.reports.class_table import class_table
from segdistill.reports.differences import Differences, differences
from segdistill.reports.facts import facts
from segdistill.reports.method_table import ALONE, PublishedValue, method_table
from segdistill.reports.table import Table, as_json, capital, comma_separated, latex, markdown
from segdistill.runs.forms import forms_of_run
from segdistill.runs.metric import Metric, metric_of, read_result, weak_teacher

Record = dict[str, Any]

KEYS = ("split", "params", "seconds")


@dataclass(frozen=True)
class Entry:
    """One run of a comparison.

    Attributes:
        method: The method as typed by the user.
        seed: The run's seed.
        folder: The run's folder.
        problem: Why the run failed; None if it did not.
    """

    method: str
    seed: int
    folder: Path
    problem: str | None = None

    @property
    def is_finished(self) -> bool:
        """True once the run has a result."""
        return (self.folder / "result.json").exists()


@dataclass(frozen=True)
class Summary:
    """The tables of a comparison, with the facts that a reader needs to judge them.

    Attributes:
        title: The title, one line.
        facts: Networks, budget, data, machines and how to read the numbers; one line each.
        methods: A row for each method, the student alone first, the teacher last.
        classes: A row for each class, the most frequent first.
        differences: The paired differences of the methods, with intervals.
        missing: Runs without a result, with their state or the reason of the failure.
        warnings: Reasons to doubt the numbers; one line each, also among the facts.
        runs: A record of the state of every run.
    """

    title: str
    facts: tuple[str, ...]
    methods: Table
    classes: Table
    differences: Differences
    missing: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    runs: tuple[Record, ...] = field(default=())

    def files(self) -> dict[str, str]:
        """Return the text of each file by its name, except comparison.json."""
        facts = "".join(f"* {fact}\n" for fact in self.facts)
        missing = "".join(f"* {line}\n" for line in self.missing)
        compared, images = self.differences, self.differences.images
        parts = [f"# {self.title}\n", facts, markdown(self.methods)]
        tables = [latex(self.methods, notes=self.facts)]
        if lines := (*compared.conclusions.values(), *compared.notes, *compared.missing):
            parts += [f"## {capital(compared.table.title)}\n", "".join(f"* {line}\n" for line in lines)]
            parts += [markdown(compared.table)] if compared.table.rows else []
            tables += [latex(compared.table, notes=lines)] if compared.table.rows else []
        parts += [f"## {self.classes.title}\n", markdown(self.classes)]
        parts += ["## Not finished\n", missing] if missing else []
        return {
            "comparison.md": "\n".join(parts),
            "comparison.tex": "\n".join([*tables, latex(self.classes)]),
            "comparison.csv": comma_separated(self.methods),
            "comparison_classes.csv": comma_separated(self.classes),
            "comparison_differences.csv": comma_separated(compared.table),
            **({"comparison_images.json": images} if images is not None else {}),
        }

    def record(self) -> Record:
        """Return the entries of comparison.json for the tables."""
        return {
            "facts": list(self.facts),
            "runs": list(self.runs),
            "table": as_json(self.methods),
            "classes": as_json(self.classes),
            "differences": self.differences.record,
        }


def summarize(
    entries: Sequence[Entry],
    recipe: Record,
    pixels: Mapping[str, int],
    *,
    teacher: Path | None = None,
    published: Mapping[str, Sequence[PublishedValue]] | None = None,
    named: Mapping[str, str] | None = None,
    against: str = "none",
    doubts: Sequence[str] = (),
    is_complete: bool = True,
) -> Summary:
    """Return the tables that compare the finished runs.

    Differences are paired: they are means over the seeds that both methods have finished. Standard deviations are over
    seeds (n - 1 in the denominator).

    Args:
        entries: The runs; those of the method ``none`` are the student alone.
        recipe: The recipe that all runs share.
        pixels: The number of pixels of each class in the training labels.
        teacher: The folder of the teacher's run, if the teacher was trained for this comparison.
        published: Published results by method; the teacher's under "teacher".
        named: The methods that the user named, by name.
        against: The method to which the differences with intervals refer.
        doubts: Further reasons to doubt the numbers, for the warnings.
        is_complete: Whether a record must have all values that the tables show. If not, a value that an earlier version
            did not record is left out.

    Raises:
        UserError: A record is damaged.
    """
    keys = KEYS if is_complete else ()
    results: dict[str, dict[int, Record]] = {}
    for entry in entries:
        by_seed = results.setdefault(entry.method, {})
        if entry.is_finished:
            by_seed[entry.seed] = read_result(entry.folder / "result.json", *keys)
    trained = _teacher_record(teacher, results, *keys[1:2])
    metric = metric_of(next((run for runs in results.values() for run in runs.values()), trained or {}))
    frequent = common_classes(pixels)
    methods = method_table(
        results,
        trained,
        frequent,
        metric,
        planned=Counter(entry.method for entry in entries),
        published=published or {},
        against=against,
    )
    folders = {(entry.method, entry.seed): entry.folder for entry in entries}
    compared = differences(results, folders, frequent if any(pixels.values()) else None, metric, against)
    alone = [run[metric.key] for run in results.get(ALONE, {}).values()]
    weak = weak_teacher(trained[metric.key] if trained else None, fmean(alone) if alone else None, metric)
    warnings = (*([weak] if weak else []), *_uneven(results, metric), *doubts)
    finished = [entry.folder for entry in entries if entry.is_finished]
    splits = sorted({run["split"] for runs in results.values() for run in runs.values() if "split" in run})
    seeds = tuple(dict.fromkeys(entry.seed for entry in entries))
    try:
        about = facts(recipe, finished, splits, seeds)
    except (KeyError, TypeError):
        if is_complete:
            raise
        about = ()
    return Summary(
        title=f"{recipe['name']}: {_number(results, 'method')}, {_number(seeds, 'seed')}",
        facts=(
            *about,
            *warnings,
            *(f"{name} is {method}" for name, method in (named or {}).items() if name in results),
            "differences are paired seed by seed; ± is the standard deviation over seeds (n - 1); do not subtract the "
            "means of rows with different seeds",
            "seconds depend on this machine and its other load, such as other runs; what a killed process lost is not "
            "among them",
            *(
                ["published results have the papers' schedules; `segdistill recipes NAME` shows the settings"]
                if any(published.values() if published else ())
                else []
            ),
            *([_about_groups(frequent, pixels, metric)] if any(pixels.values()) or is_complete else []),
        ),
        methods=methods,
        classes=class_table(results, trained, pixels, frequent, metric),
        differences=compared,
        missing=tuple(_missing(entry) for entry in entries if not entry.is_finished),
        warnings=warnings,
        runs=tuple(_run(entry, results, metric) for entry in entries),
    )


def _number(things: Collection[Any], name: str) -> str:
    return f"{len(things)} {name}{'s' if len(things) != 1 else ''}"


def _about_groups(frequent: Sequence[str], pixels: Mapping[str, int], metric: Metric) -> str:
    return (
        f"common classes are the {len(frequent)} of {len(pixels)} with at least {RARE:.0%} of the training labels; "
        f"the columns of common and rare classes are means of {metric.of_class}"
    )


def _uneven(results: Mapping[str, Mapping[int, Record]], metric: Metric) -> list[str]:
    """Return a warning if a class that the labels lack counts in the scores of some runs and not of others."""
    scores = [run[metric.classes] for runs in results.values() for run in runs.values()]
    counted = [{name for name, value in each.items() if value is not None} for each in scores]
    some = sorted(set().union(*counted) - set.intersection(*counted)) if counted else []
    if not some:
        return []
    return [
        f"the labels have no pixel of {', '.join(some)}, which counts as 0 in the runs that predict it and not at all "
        "in the others: repeat the comparison with evaluation.absent=zero"
    ]


def _missing(entry: Entry) -> str:
    begun = (entry.folder / "checkpoints" / "last.pt").exists()
    why = f"failed: {entry.problem}" if entry.problem else "begun" if begun else "not begun"
    return f"{entry.folder.name}: {why}"


def _run(entry: Entry, results: Mapping[str, Mapping[int, Record]], metric: Metric) -> Record:
    result = results[entry.method].get(entry.seed)
    state = "finished" if result is not None else "failed" if entry.problem else "unfinished"
    keys = (metric.key, f"val_{metric.key}", "seconds", "params", metric.classes)
    numbers = {key: result.get(key) for key in keys} if result is not None else {}
    numbers |= {"forms": forms} if (forms := forms_of_run(entry.folder)) else {}
    record = {"method": entry.method, "seed": entry.seed, "folder": entry.folder.name, "state": state, **numbers}
    return record if result is not None or not entry.problem else {**record, "problem": entry.problem}


def _teacher_record(folder: Path | None, results: Mapping[str, Mapping[int, Record]], *keys: str) -> Record | None:
    if folder is not None and (folder / "result.json").exists():
        return read_result(folder / "result.json", *keys)
    return next((run["teacher"] for runs in results.values() for run in runs.values() if "teacher" in run), None)
