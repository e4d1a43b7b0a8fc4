"""Results of a comparison so far: methods over seeds, scores by class, common and rare classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from segdistill.data.statistics.common_classes import RARE, common_classes
from segdistill.reports.differences import Differences, differences
from segdistill.reports.facts import facts
from segdistill.reports.table import Cell, Column, Spread, Table, as_json, comma_separated, latex, markdown
from segdistill.runs.metric import Metric, metric_of, read_result, weak_teacher

Record = dict[str, Any]

KEYS = ("split", "params", "seconds")


class PublishedValue(Protocol):
    """A published result."""

    @property
    def paper(self) -> str:
        """The name of the paper."""

    @property
    def table(self) -> str:
        """The number of the table in the paper."""

    @property
    def score(self) -> float | None:
        """Mean IoU, or top-1 accuracy, in percent; None if the table has neither."""


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
            parts += [f"## {_capital(compared.table.title)}\n", "".join(f"* {line}\n" for line in lines)]
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
    rows = []
    planned = len({entry.seed for entry in entries})
    for method, runs in results.items():
        cells = _row(runs, {} if method == "none" else results.get("none", {}), trained, frequent, metric)
        rows.append((method, f"{len(runs)} of {planned}", *cells, _printed(published, method)))
    if trained is not None:
        score, _, _, common, rare, _, _, parameters = _row({0: trained}, {}, None, frequent, metric)
        rows.append(
            ("teacher", None, score, None, None, common, rare, None, None, parameters, _printed(published, "teacher"))
        )
    folders = {(entry.method, entry.seed): entry.folder for entry in entries}
    compared = differences(results, folders, frequent if any(pixels.values()) else None, metric, against)
    alone = _mean([run[metric.key] for run in results.get("none", {}).values()])
    weak = weak_teacher(trained[metric.key] if trained else None, alone, metric)
    warnings = (weak,) if weak else ()
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
        title=f"{recipe['name']}: {len(results)} methods, {len(seeds)} seeds",
        facts=(
            *about,
            *warnings,
            *(f"{name} is {method}" for name, method in (named or {}).items() if name in results),
            "differences are paired seed by seed; ± is the standard deviation over seeds (n - 1); do not subtract the "
            "means of rows with different seeds",
            "seconds depend on this machine and its other load; interrupted runs include the steps that they repeat",
            *(
                ["published results have the papers' schedules; `segdistill recipes NAME` shows the settings"]
                if any(published.values() if published else ())
                else []
            ),
            *([_about_groups(frequent, pixels, metric)] if any(pixels.values()) or is_complete else []),
        ),
        methods=_without_empty_last(Table(f"{metric.name} in percent", _method_columns(metric), tuple(rows))),
        classes=_class_table(results, trained, pixels, frequent, metric),
        differences=compared,
        missing=tuple(_missing(entry) for entry in entries if not entry.is_finished),
        warnings=warnings,
        runs=tuple(_run(entry, results, metric) for entry in entries),
    )


def _about_groups(frequent: Sequence[str], pixels: Mapping[str, int], metric: Metric) -> str:
    return (
        f"common classes are the {len(frequent)} of {len(pixels)} with at least {RARE:.0%} of the training labels; "
        f"the columns of common and rare classes are means of {metric.of_class}"
    )


def _method_columns(metric: Metric) -> tuple[Column, ...]:
    return (
        Column("method", "method"),
        Column("seeds", "seeds"),
        Column(f"{metric.key}_percent", metric.name, spreads=True),
        Column("gain_points", "over the student alone", signed=True, spreads=True),
        Column("to_teacher_points", "over the teacher", signed=True, spreads=True),
        Column("common_percent", "common classes", spreads=True),
        Column("rare_percent", "rare classes", spreads=True),
        Column("seconds", "seconds", digits=0),
        Column("seconds_ratio", "x student alone"),
        Column("parameters_millions", "parameters, M"),
        Column("published", "published"),
    )


def _printed(published: Mapping[str, Sequence[PublishedValue]] | None, method: str) -> str | None:
    tables: dict[tuple[str, str], list[str]] = {}
    for value in (published or {}).get(method, ()):
        if value.score is not None:
            tables.setdefault((f"{value.score:.2f}", value.paper), []).append(value.table)
    texts = (
        f"{score} ({paper}, table{'s' if len(numbers) > 1 else ''} {', '.join(numbers)})"
        for (score, paper), numbers in tables.items()
    )
    return "; ".join(texts) or None


def _without_empty_last(table: Table) -> Table:
    """Return the table without the last column, the published values, if it is empty."""
    if any(row[-1] is not None for row in table.rows):
        return table
    return Table(table.title, table.columns[:-1], tuple(row[:-1] for row in table.rows))


def _row(
    runs: Mapping[int, Record],
    alone: Mapping[int, Record],
    teacher: Record | None,
    frequent: Sequence[str],
    metric: Metric,
) -> tuple[Cell, ...]:
    """Return the cells of one method from the score to the parameters; ``runs`` and ``alone`` are results by seed."""
    key = metric.key
    shared = [seed for seed in runs if seed in alone]
    halves = [_halves(run[metric.classes], frequent) for run in runs.values()]
    timed = [seed for seed in shared if alone[seed].get("seconds", 0) > 0 and "seconds" in runs[seed]]
    ratios = [runs[seed]["seconds"] / alone[seed]["seconds"] for seed in timed]
    return (
        _spread([100 * run[key] for run in runs.values()]),
        _spread([100 * (runs[seed][key] - alone[seed][key]) for seed in shared]),
        _spread([100 * (run[key] - teacher[key]) for run in runs.values()] if teacher is not None else []),
        _spread([common for common, _ in halves]),
        _spread([rare for _, rare in halves]),
        _mean([run["seconds"] for run in runs.values() if "seconds" in run]),
        _mean(ratios),
        _mean([run["params"] / 1e6 for run in runs.values() if "params" in run]),
    )


def _class_table(
    results: Mapping[str, Mapping[int, Record]],
    teacher: Record | None,
    pixels: Mapping[str, int],
    frequent: Sequence[str],
    metric: Metric,
) -> Table:
    total = sum(pixels.values()) or 1
    columns = [Column("class", "class"), Column("group", "group"), Column("share_percent", "% of labels")]
    columns += [Column(method, method, spreads=True) for method in results]
    rows = []
    for name in sorted(pixels, key=lambda each: -pixels[each]):
        cells: list[Cell] = [name, "common" if name in frequent else "rare", 100 * pixels[name] / total]
        cells += [
            _spread([_percent(run[metric.classes].get(name)) for run in runs.values()]) for runs in results.values()
        ]
        rows.append((*cells, *([_percent(teacher[metric.classes].get(name))] if teacher is not None else [])))
    if teacher is not None:
        columns.append(Column("teacher", "teacher"))
    return Table(f"{_capital(metric.of_class)} of each class in percent", tuple(columns), tuple(rows))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _missing(entry: Entry) -> str:
    begun = (entry.folder / "checkpoints" / "last.pt").exists()
    why = f"failed: {entry.problem}" if entry.problem else "begun" if begun else "not begun"
    return f"{entry.folder.name}: {why}"


def _run(entry: Entry, results: Mapping[str, Mapping[int, Record]], metric: Metric) -> Record:
    result = results[entry.method].get(entry.seed)
    state = "finished" if result is not None else "failed" if entry.problem else "unfinished"
    keys = (metric.key, f"val_{metric.key}", "seconds", "params", metric.classes)
    numbers = {key: result.get(key) for key in keys} if result is not None else {}
    record = {"method": entry.method, "seed": entry.seed, "folder": entry.folder.name, "state": state, **numbers}
    return record if result is not None or not entry.problem else {**record, "problem": entry.problem}


def _teacher_record(folder: Path | None, results: Mapping[str, Mapping[int, Record]], *keys: str) -> Record | None:
    if folder is not None and (folder / "result.json").exists():
        return read_result(folder / "result.json", *keys)
    return next((run["teacher"] for runs in results.values() for run in runs.values() if "teacher" in run), None)


def _halves(classes: Mapping[str, float | None], frequent: Sequence[str]) -> tuple[float | None, float | None]:
    """Return the mean of the common and the mean of the rare classes, in percent; absent classes do not count."""
    percent = {name: 100 * value for name, value in classes.items() if value is not None}
    common = [value for name, value in percent.items() if name in frequent]
    rare = [value for name, value in percent.items() if name not in frequent]
    return _mean(common), _mean(rare)


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _spread(values: Sequence[float | None]) -> Spread | None:
    present = tuple(value for value in values if value is not None)
    return Spread(present) if present else None


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
