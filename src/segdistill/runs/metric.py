"""Metrics that compare networks: mean IoU for segmentation, top-1 accuracy for image classification."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.data import Task
from segdistill.runs.json_files import damaged, read_json


@dataclass(frozen=True)
class Metric:
    """One metric, with its keys in a record and its names in a report.

    Attributes:
        key: The key in a record. The value is in 0..1; higher is better.
        classes: The key of the values by class.
        name: The name in reports.
        of_class: The name of the value of one class.
    """

    key: str
    classes: str
    name: str
    of_class: str


METRICS: dict[Task, Metric] = {
    "segmentation": Metric("miou", "iou", "mIoU", "IoU"),
    "classification": Metric("top1", "accuracy", "top-1 accuracy", "accuracy"),
}

# Scores of a segmentation next to the mean IoU: keys of a result, and their names in tables.
MORE = {
    "pixel_accuracy": "pixel accuracy",
    "class_accuracy": "mean class accuracy",
    "frequency_weighted_iou": "frequency-weighted IoU",
}


def metric_of(record: Mapping[str, Any]) -> Metric:
    """Return the metric of a run's record."""
    return METRICS["classification" if METRICS["classification"].key in record else "segmentation"]


def read_result(path: Path, *keys: str) -> dict[str, Any]:
    """Return a run's result.json, which must have the values of its metric and these keys.

    Raises:
        UserError: The file is missing or damaged.
    """
    metric = metric_of(read_json(path))
    result = read_json(path, metric.key, metric.classes, *keys)
    records = [result, *([result["teacher"]] if "teacher" in result else [])]
    if not all(isinstance(record, dict) and _is_record(record, metric) for record in records):
        raise damaged(path)
    return result


def _is_record(record: Mapping[str, Any], metric: Metric) -> bool:
    numbers = [record.get(metric.key), *(record.get(key, 0) for key in ("params", "flops"))]
    classes = record.get(metric.classes)
    if not isinstance(classes, dict) or not all(isinstance(record.get(key, ""), str) for key in ("split", "method")):
        return False
    return all(isinstance(each, int | float) for each in (*numbers, *(v for v in classes.values() if v is not None)))


def weak_teacher(teacher: float | None, alone: float | None, metric: Metric) -> str | None:
    """Return a warning if the teacher scores below the student trained alone; None if not, or if a score is missing."""
    if teacher is None or alone is None or teacher >= alone:
        return None
    return (
        f"the teacher, with {100 * teacher:.1f} {metric.name}, is below the student alone, with {100 * alone:.1f}: "
        "train it longer, or take another one"
    )
