"""Images with labels: class indices, 255 = void, or one class an image. Importing this package imports no torch."""

from importlib import import_module
from typing import TYPE_CHECKING

from segdistill.data.classes import Classes
from segdistill.data.layouts import CARDS, DATASETS, Card, Layout, Split, Task, card_of, open_layout

if TYPE_CHECKING:
    from segdistill.data.datasets import ClassificationDataset, ImageDataset, SegmentationDataset
    from segdistill.data.frequencies import ClassFrequencies, class_frequencies
    from segdistill.data.opening import open_dataset
    from segdistill.data.scan import LabelReport, scan_labels
    from segdistill.data.scenes import Scenes
    from segdistill.data.shapes import Shapes
    from segdistill.data.stream import TrainingStream, evaluation_loader, training_loader
    from segdistill.data.transforms import (
        classification_evaluation_transform,
        classification_training_transform,
        denormalise,
        evaluation_transform,
        training_transform,
    )

# A wrong folder must be answered at once, so whatever needs torch is imported when it is first asked for.
_HOME = {
    "ClassFrequencies": "frequencies",
    "ClassificationDataset": "datasets",
    "ImageDataset": "datasets",
    "LabelReport": "scan",
    "SegmentationDataset": "datasets",
    "open_dataset": "opening",
    "scan_labels": "scan",
    "Scenes": "scenes",
    "Shapes": "shapes",
    "TrainingStream": "stream",
    "evaluation_loader": "stream",
    "training_loader": "stream",
    "class_frequencies": "frequencies",
    "classification_evaluation_transform": "transforms",
    "classification_training_transform": "transforms",
    "denormalise": "transforms",
    "evaluation_transform": "transforms",
    "training_transform": "transforms",
}

__all__ = [
    "CARDS",
    "DATASETS",
    "Card",
    "ClassFrequencies",
    "Classes",
    "ClassificationDataset",
    "ImageDataset",
    "LabelReport",
    "Layout",
    "Scenes",
    "SegmentationDataset",
    "Shapes",
    "Split",
    "Task",
    "TrainingStream",
    "card_of",
    "class_frequencies",
    "classification_evaluation_transform",
    "classification_training_transform",
    "denormalise",
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
