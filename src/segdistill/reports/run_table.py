"""The table at the end of a run: student alone, distilled student and teacher, with the score of every class."""

from pathlib import Path
from typing import Any

from rich.console import Group

from segdistill.reports.screen import screen_table
from segdistill.runs.metric import MORE, metric_of, read_result, weak_teacher

Record = dict[str, Any]

KEYS = ("split", "params", "flops")


def records(folder: Path) -> dict[str, Record]:
    """Return the records in a run's folder, by column: the student alone, the distilled student, the teacher."""
    result = read_result(folder / "result.json", *KEYS, "method")
    alone = folder / "alone" / "result.json"
    columns: dict[str, Record] = {}
    if alone.exists():
        columns["student alone"] = read_result(alone, *KEYS)
    columns["student alone" if result["method"] == "none" else result["method"]] = result
    if "teacher" in result:
        columns["teacher"] = result["teacher"]
    return columns


def run_table(folder: Path) -> Group:
    """Return the table of a finished run: the scores in percent, with the gain over the student alone."""
    columns = records(folder)  # the student alone comes first, if there is one
    gained = list(columns)[:1] == ["student alone"] and len(columns) > 1
    table = screen_table("class")
    for name in [*columns, *(["gain"] if gained else [])]:
        table.add_column(name, justify="right")
    first = next(iter(columns.values()))
    metric = metric_of(first)
    rows = {
        label: [record[metric.classes].get(label) for record in columns.values()] for label in first[metric.classes]
    }
    rows[metric.name] = [record[metric.key] for record in columns.values()]
    for label, values in rows.items():
        cells = [_percent(value) for value in values] + ([_gain(*values[:2])] if gained else [])
        table.add_row(label, *cells, style="bold" if label == metric.name else "")
    table.add_section()
    table.add_row("parameters", *(f"{record['params'] / 1e6:.2f} M" for record in columns.values()))
    table.add_row("GFLOPs an image", *(f"{record['flops'] / 1e9:.2f}" for record in columns.values()))
    weak = None
    if gained and "teacher" in columns:
        weak = weak_teacher(columns["teacher"][metric.key], first[metric.key], metric)
    return Group(f"{metric.of_class} in percent on {first['split']}", table, *([weak] if weak else []))


def score_table(score: Record, split: str) -> Group:
    """Return the table of one network's scores."""
    metric = metric_of(score)
    table = screen_table("class", metric.of_class)
    for label, value in score[metric.classes].items():
        table.add_row(label, _percent(value))
    table.add_row(metric.name, _percent(score[metric.key]), style="bold")
    for key, name in MORE.items():
        if key in score:
            table.add_row(name, _percent(score[key]))
    return Group(f"{metric.of_class} in percent on {split}", table)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _gain(alone: float | None, distilled: float | None) -> str:
    return "-" if alone is None or distilled is None else f"{100 * (distilled - alone):+.1f}"
