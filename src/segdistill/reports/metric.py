"""What networks are compared by: mean IoU for segmentation, top-1 accuracy for image classification."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.data import Task
from segdistill.reports.files import read_json


@dataclass(frozen=True)
class Metric:
    """One measure, and how a record spells it.

    Attributes:
        key: Its key in a record; a ratio in 0..1, higher is better.
        classes: The key of the same by class.
        name: What people call it.
        of_class: What they call it for one class.
    """

    key: str
    classes: str
    name: str
    of_class: str


METRICS: dict[Task, Metric] = {
    "segmentation": Metric("miou", "iou", "mIoU", "IoU"),
    "classification": Metric("top1", "accuracy", "top-1 accuracy", "accuracy"),
}


def metric_of(record: Mapping[str, Any]) -> Metric:
    """Return what a run's record was scored by."""
    return METRICS["classification" if METRICS["classification"].key in record else "segmentation"]


def read_result(path: Path, *keys: str) -> dict[str, Any]:
    """Read a run's result.json and check that it has its metric, and these keys.

    Raises:
        UserError: It is damaged.
    """
    metric = metric_of(read_json(path))
    return read_json(path, metric.key, metric.classes, *keys)
