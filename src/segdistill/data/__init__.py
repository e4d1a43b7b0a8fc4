"""Images with labels: a class index per pixel (255 = void) or per image. This package does not import torch itself."""

from importlib import import_module
from typing import TYPE_CHECKING

from segdistill.data.classes import Classes
from segdistill.data.layouts import DATASET_CARDS, DATASETS, DatasetCard, Layout, Split, Task, dataset_card, open_layout

if TYPE_CHECKING:
    from segdistill.data.datasets.base import ClassificationDataset, ImageDataset, SegmentationDataset
    from segdistill.data.datasets.open import open_dataset
    from segdistill.data.generated.scenes import Scenes
    from segdistill.data.generated.shapes import Shapes
    from segdistill.data.statistics.frequencies import ClassFrequencies, class_frequencies
    from segdistill.data.statistics.scan import LabelReport, scan_labels
    from segdistill.data.stream import TrainingStream, evaluation_loader, training_loader
    from segdistill.data.transforms import (
        classification_evaluation_transform,
        classification_training_transform,
        denormalize,
        evaluation_transform,
        training_transform,
    )

# A wrong folder is reported at once: modules that need torch are imported on first use.
_HOME = {
    "ClassFrequencies": "statistics.frequencies",
    "ClassificationDataset": "datasets.base",
    "ImageDataset": "datasets.base",
    "LabelReport": "statistics.scan",
    "SegmentationDataset": "datasets.base",
    "open_dataset": "datasets.open",
    "scan_labels": "statistics.scan",
    "Scenes": "generated.scenes",
    "Shapes": "generated.shapes",
    "TrainingStream": "stream",
    "evaluation_loader": "stream",
    "training_loader": "stream",
    "class_frequencies": "statistics.frequencies",
    "classification_evaluation_transform": "transforms",
    "classification_training_transform": "transforms",
    "denormalize": "transforms",
    "evaluation_transform": "transforms",
    "training_transform": "transforms",
}

__all__ = [
    "DATASETS",
    "DATASET_CARDS",
    "ClassFrequencies",
    "Classes",
    "ClassificationDataset",
    "DatasetCard",
    "ImageDataset",
    "LabelReport",
    "Layout",
    "Scenes",
    "SegmentationDataset",
    "Shapes",
    "Split",
    "Task",
    "TrainingStream",
    "class_frequencies",
    "classification_evaluation_transform",
    "classification_training_transform",
    "dataset_card",
    "denormalize",
    "evaluation_loader",
    "evaluation_transform",
    "open_dataset",
    "open_layout",
    "scan_labels",
    "training_loader",
    "training_transform",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
