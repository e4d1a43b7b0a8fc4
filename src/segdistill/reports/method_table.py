"""Table of the methods of a comparison: scores over the seeds, gains over other rows, cost."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Protocol

from segdistill.reports.table import Cell, Column, Table, spread_of
from segdistill.runs.metric import Metric, metric_of

Record = dict[str, Any]

ALONE = "none"


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


def method_table(
    results: Mapping[str, Mapping[int, Record]],
    teacher: Record | None,
    frequent: Sequence[str],
    metric: Metric,
    *,
    planned: Mapping[str, int],
    published: Mapping[str, Sequence[PublishedValue]],
    against: str,
) -> Table:
    """Return a row for each method, the teacher last. Columns that not every comparison has are left out if empty.

    Args:
        results: The results by method and seed.
        teacher: The teacher's result.
        frequent: The common classes.
        metric: The metric of the scores.
        planned: The number of planned seeds by method.
        published: Published results by method; the teacher's under "teacher".
        against: The method to which the differences refer, besides the student alone.
    """
    rows: list[dict[str, Cell]] = []
    for method, runs in results.items():
        others = {name: results.get(name, {}) for name in (ALONE, against) if name != method}
        rows.append(
            {"method": method, "seeds": f"{len(runs)} of {planned[method]}", **_cells(runs, others, teacher, frequent)}
        )
    if teacher is not None:
        kept = ("score", "common_percent", "rare_percent", "parameters_millions")
        cells = _cells({0: teacher}, {}, None, frequent)
        rows.append({"method": "teacher", **{key: cells[key] for key in kept}})
    for row in rows:
        row["published"] = _printed(published.get(str(row["method"]), ()))
    if len({row.get("steps") for row in rows if row["method"] != "teacher"}) == 1:
        rows = [{**row, "steps": None} for row in rows]  # equal steps are among the facts
    columns = {
        "method": Column("method", "method"),
        "seeds": Column("seeds", "seeds"),
        "steps": Column("steps", "steps", digits=0),
        "score": Column(f"{metric.key}_percent", metric.name, spreads=True),
        "gain_points": Column("gain_points", "over the student alone", signed=True, spreads=True),
        f"over_{against}": Column("gain_over_row_points", f"over {against}", signed=True, spreads=True),
        "to_teacher_points": Column("to_teacher_points", "over the teacher", signed=True, spreads=True),
        "common_percent": Column("common_percent", "common classes", spreads=True),
        "rare_percent": Column("rare_percent", "rare classes", spreads=True),
        "seconds": Column("seconds", "seconds", digits=0),
        "seconds_ratio": Column("seconds_ratio", "x student alone"),
        "parameters_millions": Column("parameters_millions", "parameters, M"),
        "published": Column("published", "published"),
    }
    if against == ALONE:
        del columns[f"over_{against}"]
    shown = {
        key: column
        for key, column in columns.items()
        if key not in ("steps", "published") or any(row.get(key) is not None for row in rows)
    }
    values = tuple(tuple(row.get(key) for key in shown) for row in rows)
    return Table(f"{metric.name} in percent", tuple(shown.values()), values)


def _printed(published: Sequence[PublishedValue]) -> str | None:
    tables: dict[tuple[str, str], list[str]] = {}
    for value in published:
        if value.score is not None:
            tables.setdefault((f"{value.score:.2f}", value.paper), []).append(value.table)
    texts = (
        f"{score} ({paper}, table{'s' if len(numbers) > 1 else ''} {', '.join(numbers)})"
        for (score, paper), numbers in tables.items()
    )
    return "; ".join(texts) or None


def _cells(
    runs: Mapping[int, Record],
    others: Mapping[str, Mapping[int, Record]],
    teacher: Record | None,
    frequent: Sequence[str],
) -> dict[str, Cell]:
    """Return the cells of one method by column.

    Args:
        runs: The results of the method, by seed.
        others: The results of the rows to which differences refer, by row and seed.
        teacher: The teacher's result.
        frequent: The common classes.
    """
    metric = metric_of(next(iter(runs.values()), {}))
    key, alone = metric.key, others.get(ALONE, {})
    halves = [_halves(run[metric.classes], frequent) for run in runs.values()]
    timed = [seed for seed in runs if alone.get(seed, {}).get("seconds", 0) > 0 and "seconds" in runs[seed]]
    seconds, of_alone = (sum(each[seed]["seconds"] for seed in timed) for each in (runs, alone))
    gains = {
        "gain_points" if name == ALONE else f"over_{name}": spread_of(
            [100 * (runs[seed][key] - other[seed][key]) for seed in runs if seed in other]
        )
        for name, other in others.items()
    }
    return {
        "score": spread_of([100 * run[key] for run in runs.values()]),
        **gains,
        "to_teacher_points": spread_of([100 * (run[key] - teacher[key]) for run in runs.values()] if teacher else []),
        "common_percent": spread_of([common for common, _ in halves]),
        "rare_percent": spread_of([rare for _, rare in halves]),
        "steps": _mean([run["iterations"] for run in runs.values() if "iterations" in run]),
        "seconds": _mean([run["seconds"] for run in runs.values() if "seconds" in run]),
        "seconds_ratio": seconds / of_alone if timed else None,
        "parameters_millions": _mean([run["params"] / 1e6 for run in runs.values() if "params" in run]),
    }


def _halves(classes: Mapping[str, float | None], frequent: Sequence[str]) -> tuple[float | None, float | None]:
    """Return the mean of the common and the mean of the rare classes, in percent; absent classes do not count."""
    percent = {name: 100 * value for name, value in classes.items() if value is not None}
    common = [value for name, value in percent.items() if name in frequent]
    rare = [value for name, value in percent.items() if name not in frequent]
    return _mean(common), _mean(rare)


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
