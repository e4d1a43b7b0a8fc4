"""Paired differences of the methods to one of them, with intervals over seeds and over images, and what follows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from segdistill.reports.table import Column, Range, Spread, Table, as_json
from segdistill.runs.image_counts import read_image_counts
from segdistill.runs.metric import Metric
from segdistill.statistics.image_counts import ImageCounts, rows_of
from segdistill.statistics.paired import Interval, Paired, excludes_zero, holm, paired
from segdistill.statistics.resampling import ALL, RESAMPLES, SEED, percentile_interval, resampled_scores
from segdistill.statistics.student_t import MOST_SEEDS

Record = dict[str, Any]
Run = tuple[str, int]

COLUMNS = (
    Column("method", "method"),
    Column("classes", "classes"),
    Column("seeds", "seeds"),
    Column("difference_points", "difference", signed=True, spreads=True),
    Column("over_seeds", "over seeds", signed=True, ranges=True),
    Column("over_images", "over images", signed=True, ranges=True),
    Column("p", "p", digits=3),
    Column("p_holm", "p (Holm)", digits=3),
    Column("exceeds", "exceeds"),
    Column("seeds_needed", "needs seeds"),
)


@dataclass(frozen=True)
class Differences:
    """The differences of a comparison.

    Attributes:
        table: A row for each method and group of classes; empty if there is no interval.
        conclusions: One sentence for each group of classes, by the name of the group.
        notes: How to read the table; one line each.
        missing: Why intervals are missing; one line each.
        record: The entry of comparison.json.
        images: The text of comparison_images.json; None if no run has counts of its images.
    """

    table: Table
    conclusions: dict[str, str]
    notes: tuple[str, ...]
    missing: tuple[str, ...]
    record: Record
    images: str | None = None


@dataclass(frozen=True)
class _Row:
    method: str
    group: str
    by_seed: Mapping[int, float]
    paired: Paired
    images: Interval | None
    p_holm: float | None = None

    @property
    def intervals(self) -> dict[str, Interval]:
        """The known intervals by name."""
        found = {"seeds": self.paired.interval, "images": self.images}
        return {name: interval for name, interval in found.items() if interval is not None}

    @property
    def exceeded(self) -> list[str]:
        """The names of the known intervals that do not contain 0."""
        return [name for name, interval in self.intervals.items() if excludes_zero(interval)]


def differences(
    results: Mapping[str, Mapping[int, Record]],
    folders: Mapping[Run, Path],
    common: Sequence[str] | None,
    metric: Metric,
    reference: str = "none",
) -> Differences:
    """Return the differences of each method to the reference, seed by seed.

    Args:
        results: The results of the finished runs, by method and seed.
        folders: The folders of the runs, by method and seed.
        common: The common classes; the others are rare. None if the frequencies are unknown: there are no groups.
        metric: The metric.
        reference: The method to which the others are compared.
    """
    groups = _groups(results, common, metric)
    finished = [(method, seed) for method, runs in results.items() for seed in runs]
    counts, unknown = _comparable({run: read_image_counts(folders[run]) for run in finished})
    resampled = {run: resampled_scores(each, groups) for run, each in counts.items()}
    scores = {run: _scores(results[run[0]][run[1]], groups, metric) for run in finished}
    rows = [
        row
        for method in results
        if method != reference
        for group in (ALL, *groups)
        if (row := _row(method, group, reference, scores, resampled)) is not None
    ]
    rows = [row for group in (ALL, *groups) for row in _adjusted([each for each in rows if each.group == group])]
    order = list(results)
    rows.sort(key=lambda row: order.index(row.method))  # stable: the groups keep their order
    missing = _missing(rows, unknown, len(finished))
    if not any(row.intervals for row in rows):
        rows = []
    table = _table(metric, reference, rows)
    known = [group for group in (ALL, *groups) if any(row.group == group for row in rows)]
    conclusions = {group: _conclusion(group, rows) for group in known}
    notes = _about(metric, reference, next(iter(counts.values()), None)) if rows else ()
    record = {
        "reference": reference,
        "confidence": 0.95,
        "resamples": RESAMPLES,
        "resampling_seed": SEED,
        "groups": {name: list(names) for name, names in groups.items()},
        "conclusions": list(conclusions.values()),
        "notes": list(notes),
        "rows": [{**line, "by_seed": dict(row.by_seed)} for line, row in zip(as_json(table), rows, strict=True)],
    }
    return Differences(table, conclusions, notes, missing, record, _images(counts, folders))


def _groups(
    results: Mapping[str, Mapping[int, Record]], common: Sequence[str] | None, metric: Metric
) -> dict[str, tuple[str, ...]]:
    first = next((run for runs in results.values() for run in runs.values()), None)
    if common is None or first is None:
        return {}
    names = tuple(first[metric.classes])
    halves = {"common": [name for name in names if name in common], "rare": [n for n in names if n not in common]}
    return {group: tuple(members) for group, members in halves.items() if members}


def _scores(result: Record, groups: Mapping[str, Sequence[str]], metric: Metric) -> dict[str, float | None]:
    """Return the score of each group in points; absent classes do not count."""
    found: dict[str, float | None] = {ALL: 100 * result[metric.key]}
    for group, names in groups.items():
        values = [value for name in names if (value := result[metric.classes].get(name)) is not None]
        found[group] = 100 * fmean(values) if values else None
    return found


def _row(
    method: str,
    group: str,
    reference: str,
    scores: Mapping[Run, Mapping[str, float | None]],
    resampled: Mapping[Run, Mapping[str, Any]],
) -> _Row | None:
    by_seed = {}
    for name, seed in scores:
        mine, other = scores[name, seed][group], scores.get((reference, seed), {}).get(group)
        if name == method and mine is not None and other is not None:
            by_seed[seed] = mine - other
    if not by_seed:
        return None
    images = None
    if all((name, seed) in resampled for name in (method, reference) for seed in by_seed):
        gains = [resampled[method, seed][group] - resampled[reference, seed][group] for seed in by_seed]
        images = percentile_interval(100 * np.mean(gains, axis=0))
    return _Row(method, group, by_seed, paired(list(by_seed.values())), images)


def _adjusted(rows: Sequence[_Row]) -> list[_Row]:
    """Return the rows of one group with their probabilities adjusted for the number of methods."""
    adjusted = iter(holm([row.paired.p for row in rows if row.paired.p is not None]))
    return [row if row.paired.p is None else replace(row, p_holm=next(adjusted)) for row in rows]


def _comparable(found: Mapping[Run, ImageCounts | None]) -> tuple[dict[Run, ImageCounts], list[Run]]:
    """Return the counts of the runs with equal images and labels, and the runs without."""
    first = next((counts for counts in found.values() if counts is not None), None)
    expected = None if first is None else _labels(first)
    known = {run: counts for run, counts in found.items() if counts is not None and _labels(counts) == expected}
    return known, [run for run in found if run not in known]


def _labels(counts: ImageCounts) -> tuple[Any, ...]:
    return counts.task, counts.classes, counts.images, rows_of(counts.entries, len(counts.images), (3,))


def _table(metric: Metric, reference: str, rows: Sequence[_Row] = ()) -> Table:
    return Table(
        f"differences in {metric.name} to {_shown(reference)}, points, with 95 % intervals",
        COLUMNS,
        tuple(
            (
                row.method,
                row.group,
                len(row.by_seed),
                Spread(tuple(row.by_seed.values())),
                None if row.paired.interval is None else Range(*row.paired.interval),
                None if row.images is None else Range(*row.images),
                row.paired.p,
                row.p_holm,
                ("both" if len(row.exceeded) == 2 else "".join(row.exceeded) or "no") if row.intervals else None,
                None if row.paired.deviation is None else row.paired.needed or f"> {MOST_SEEDS}",
            )
            for row in rows
        ),
    )


def _conclusion(group: str, rows: Sequence[_Row]) -> str:
    """Return which differences exceed the intervals that any row has, and how many seeds the others would need."""
    rows = [row for row in rows if row.group == group]
    numbers = sorted({len(row.by_seed) for row in rows})
    seeds = f"{numbers[0]} seed{'s' if numbers[-1] > 1 else ''}" if len(numbers) == 1 else f"{numbers[0]} to "
    seeds += f"{numbers[-1]} seeds" if len(numbers) > 1 else ""
    names = [name for name in ("seeds", "images") if any(name in row.intervals for row in rows)]
    which = f"interval{'s' if len(names) > 1 else ''} over {' and '.join(names)}"
    exceeding = [row for row in rows if names and row.exceeded == names]
    within = [row for row in rows if row not in exceeding]
    text = f"{group} classes, {seeds}: "
    if exceeding:
        text += f"exceeds the {which}: {', '.join(map(_named, exceeding))}"
        text += f"; not: {', '.join(_short(row, names) for row in within)}" if within else ""
    else:
        text += f"no difference exceeds the {which}: {', '.join(_short(row, names) for row in within)}"
    return text


def _named(row: _Row) -> str:
    return f"{_shown(row.method)} {row.paired.mean:+.2f}"


def _short(row: _Row, names: Sequence[str]) -> str:
    """Return a row whose difference does not exceed the named intervals, with what is missing."""
    if "seeds" in row.intervals and "seeds" not in row.exceeded:
        needed = row.paired.needed
        reason = f"would need about {needed} seeds" if needed else f"would need more than {MOST_SEEDS} seeds"
    elif unknown := [name for name in names if name not in row.intervals]:
        reason = f"no interval over {' and '.join(unknown)}"
    else:
        reason = "not the one over images" if row.intervals else "no interval"
    return f"{_named(row)} ({reason})"


def _about(metric: Metric, reference: str, counts: ImageCounts | None) -> tuple[str, ...]:
    number = 0 if counts is None else len(counts.images)
    over_images = (
        f"over images: {RESAMPLES} resamples of the {number} images, the same for all networks; what other "
        "images would change; it is too narrow where images depend on one another, as frames of one video do",
    )
    return (
        f"differences to {_shown(reference)} are paired seed by seed, in points of {metric.name}; intervals have 95 % "
        "confidence and are not adjusted for the number of methods",
        "over seeds: Student's t of the differences; what other seeds would change",
        *(over_images if number else ()),
        "p: the paired t test over seeds; p (Holm): adjusted for the number of methods in the table",
        "exceeds: the intervals that do not contain 0; needs seeds: the number with which that test detects a "
        "difference of this size and deviation with 80 % power at 5 %",
    )


def _shown(reference: str) -> str:
    return "the student alone" if reference == "none" else reference


def _missing(rows: Sequence[_Row], unknown: Sequence[Run], finished: int) -> tuple[str, ...]:
    """Return why intervals are missing."""
    notes = []
    if rows and all(row.paired.interval is None for row in rows):
        notes.append("no interval over seeds: it needs two seeds or more")
    if rows and unknown:
        notes.append(
            f"no interval over images of {len(unknown)} of {finished} runs: they have other images, or no images.json, "
            "which earlier versions did not write"
        )
    return tuple(notes)


def _images(counts: Mapping[Run, ImageCounts], folders: Mapping[Run, Path]) -> str | None:
    """Return the counts of all runs in one record: the labels once, and hits and predicted pixels of each run."""
    if not counts:
        return None
    first = next(iter(counts.values()))
    number = len(first.images)
    record = {
        "task": first.task,
        "classes": list(first.classes),
        "counted": list(first.counted),
        "images": list(first.images),
        "labels": rows_of(first.entries, number, (3,)),
        "runs": {folders[run].name: rows_of(each.entries, number, (2, 4)) for run, each in counts.items()},
    }
    return json.dumps(record, separators=(",", ":")) + "\n"
