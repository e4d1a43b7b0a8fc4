"""Table of the classes of a comparison: the score of each class by method, the most frequent class first."""

from collections.abc import Mapping, Sequence
from typing import Any

from segdistill.reports.table import Cell, Column, Table, capital, spread_of
from segdistill.runs.metric import Metric

Record = dict[str, Any]

RESERVED = ("class", "group", "share_percent", "teacher")
"""The columns next to those of the methods. No method may have such a name."""


def class_table(
    results: Mapping[str, Mapping[int, Record]],
    teacher: Record | None,
    pixels: Mapping[str, int],
    frequent: Sequence[str],
    metric: Metric,
) -> Table:
    """Return a row for each class.

    Args:
        results: The results by method and seed.
        teacher: The teacher's result.
        pixels: The number of pixels of each class in the training labels.
        frequent: The common classes.
        metric: The metric of the scores.
    """
    total = sum(pixels.values()) or 1
    columns = [Column("class", "class"), Column("group", "group"), Column("share_percent", "% of labels")]
    columns += [Column(method, method, spreads=True) for method in results]
    rows = []
    for name in sorted(pixels, key=lambda each: -pixels[each]):
        cells: list[Cell] = [name, "common" if name in frequent else "rare", 100 * pixels[name] / total]
        cells += [
            spread_of([_percent(run[metric.classes].get(name)) for run in runs.values()]) for runs in results.values()
        ]
        rows.append((*cells, *([_percent(teacher[metric.classes].get(name))] if teacher is not None else [])))
    if teacher is not None:
        columns.append(Column("teacher", "teacher"))
    return Table(f"{capital(metric.of_class)} of each class in percent", tuple(columns), tuple(rows))


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
