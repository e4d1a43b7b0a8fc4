"""Scores of a network on a data set: whole images at one scale, every image once, over all processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix

from segdistill.data import (
    ClassificationDataset,
    SegmentationDataset,
    Task,
    classification_evaluation_transform,
    evaluation_loader,
    evaluation_transform,
)
from segdistill.data.stream import Transform
from segdistill.distillation.features import evaluating
from segdistill.distillation.running import run
from segdistill.errors import FOREIGN, UserError, first_line
from segdistill.evaluation.finite import check_loaded
from segdistill.recipes.schema import Data
from segdistill.runs.metric import METRICS, Metric

ImageSet = SegmentationDataset | ClassificationDataset

# Images to classify have one size and are scored in batches of this size; whole images to segment, one at a time.
CLASSIFIED_AT_A_TIME = 64


@dataclass(frozen=True)
class Score:
    """The scores of a network on a set of images, in 0..1.

    Attributes:
        metric: The metric of ``value``: mean IoU, or top-1 accuracy.
        value: The score that networks are compared by.
        classes: The score of each class: IoU, or the share of the class's images that are classified correctly. A class
            that does not occur has None and does not count in the mean; the CIRKD code counts it as 0. A class that is
            predicted but does not occur in the labels has IoU 0.
        pixel_accuracy: The share of pixels that are classified correctly; None for image classification.
    """

    metric: Metric
    value: float
    classes: dict[str, float | None]
    pixel_accuracy: float | None = None

    @classmethod
    def of_segmentation(cls, confusion: Tensor, classes: tuple[str, ...]) -> "Score":
        """Return the scores of a confusion matrix of pixels, of shape (C, C): rows are labels, columns predictions."""
        counts = confusion.cpu().double()
        hits = counts.diagonal()
        iou = _shares(hits, counts.sum(0) + counts.sum(1) - hits, classes)
        present = [value for value in iou.values() if value is not None]
        mean = sum(present) / len(present) if present else 0.0
        return cls(METRICS["segmentation"], mean, iou, _share(hits.sum(), counts.sum()))

    @classmethod
    def of_classification(cls, confusion: Tensor, classes: tuple[str, ...]) -> "Score":
        """Return the scores of a confusion matrix of images."""
        counts = confusion.cpu().double()
        hits = counts.diagonal()
        share = _share(hits.sum(), counts.sum())
        return cls(METRICS["classification"], share, _shares(hits, counts.sum(1), classes))

    def record(self) -> dict[str, Any]:
        """Return the scores under the keys of a run's result."""
        more = {} if self.pixel_accuracy is None else {"pixel_accuracy": self.pixel_accuracy}
        return {self.metric.key: self.value, self.metric.classes: self.classes, **more}


def scoring_transform(data: Data, task: Task) -> Transform:
    """Return the transform of images for scoring, which keeps the whole image, or its center for classification."""
    transform: Transform = (
        classification_evaluation_transform(data.crop) if task == "classification" else evaluation_transform()
    )
    return transform


def predict(network: nn.Module, images: Tensor, size: tuple[int, int], void: Sequence[int] = ()) -> Tensor:
    """Return the class of every pixel, of shape (N, H, W), with the logits upsampled to ``size``.

    Upsampling is bilinear with ``align_corners=True``, as in the task loss and in the evaluation of the CIRKD code. The
    classes in ``void`` are never predicted.
    """
    return _classes(run(network, images).logits, size, void)


def predict_like(network: nn.Module, images: Tensor, labels: Tensor, void: Sequence[int] = ()) -> Tensor:
    """Return the class of each image if ``labels`` have shape (N,), or of every pixel if they have (N, H, W)."""
    return _classes(run(network, images).logits, tuple(labels.shape[1:]), void)


def _classes(logits: Tensor, size: tuple[int, ...], void: Sequence[int]) -> Tensor:
    if not size:
        return logits.argmax(1)
    scores = F.interpolate(logits.float(), size, mode="bilinear", align_corners=True)
    if void:
        scores = scores.index_fill(1, torch.tensor(void, device=scores.device), -torch.inf)
    return scores.argmax(1)


@torch.no_grad()
def try_scoring(network: nn.Module, dataset: ImageSet, fabric: Fabric, data: Data, who: str) -> None:
    """Score the first image of a data set, so that an error of validation appears before training.

    Args:
        network, dataset, fabric, data: As for :func:`evaluate`.
        who: The name of the network in errors.

    Raises:
        UserError: As for :func:`evaluate`.
    """
    image, labels = scoring_transform(data, dataset.task)(*dataset[0])
    with evaluating(network):
        _predict(network, image[None], labels[None], dataset, fabric, who)


def _predict(network: nn.Module, images: Tensor, labels: Tensor, dataset: ImageSet, fabric: Fabric, who: str) -> Tensor:
    try:
        with fabric.autocast():
            logits = run(network, images.to(fabric.device)).logits
            _check_scores(logits, labels, len(dataset.classes), who)
            return _classes(logits, tuple(labels.shape[1:]), dataset.classes.void)
    except UserError:
        raise
    except FOREIGN as error:
        height, width = images.shape[-2:]
        reason = first_line(error).rstrip(".")
        raise UserError(
            f"{who} cannot take an image of {height}x{width}: {reason}; images are scored whole, so it must take any "
            "size (encoders of timm: options.strict_img_size=false for Swin, options.dynamic_img_size=true for ViT)"
        ) from error


def _check_scores(logits: Tensor, labels: Tensor, classes: int, who: str) -> None:
    """Raise if the scores do not have one channel for each class, for each pixel or image."""
    if logits.dim() != labels.dim() + 1:
        expected = "(N, classes)" if labels.dim() == 1 else "(N, classes, h, w)"
        raise UserError(f"{who} gives scores of shape {tuple(logits.shape)}; expected {expected}")
    if logits.shape[1] != classes:
        raise UserError(
            f"{who} gives {logits.shape[1]} scores and the data set has {classes} classes; build it with one output "
            "for each class (a callable gets their number as num_classes)"
        )


@torch.no_grad()
def evaluate(network: nn.Module, dataset: ImageSet, fabric: Fabric, data: Data, who: str = "the network") -> Score:
    """Return the score of a network on a data set, with predictions at the size of the labels.

    Every process reads its share of the images once; the score covers all images.

    Args:
        network: The network, on the engine's device.
        dataset: The images and labels.
        fabric: The engine.
        data: The section ``data`` of a recipe; ``crop`` (for classification) and ``workers`` are read.
        who: The name of the network in errors.

    Raises:
        UserError: A weight is not finite, the network cannot take whole images, or it does not return one score for
            each class.
    """
    check_loaded(network, f"{who}'s")
    classes = dataset.classes
    classifies = dataset.task == "classification"
    metric = MulticlassConfusionMatrix(len(classes), ignore_index=dataset.ignore_index).to(fabric.device)
    loader = evaluation_loader(
        dataset,
        scoring_transform(data, dataset.task),
        batch_size=CLASSIFIED_AT_A_TIME if classifies else 1,
        workers=data.workers,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )
    with evaluating(network):
        for images, labels in loader:
            predicted = _predict(network, images, labels, dataset, fabric, who)
            metric.update(predicted, labels.to(fabric.device))
    read = Score.of_classification if classifies else Score.of_segmentation
    return read(metric.compute(), classes.names)


def _shares(hits: Tensor, totals: Tensor, classes: tuple[str, ...]) -> dict[str, float | None]:
    return {
        name: float(hit / total) if total > 0 else None for name, hit, total in zip(classes, hits, totals, strict=True)
    }


def _share(hits: Tensor, total: Tensor) -> float:
    return float(hits / total) if total > 0 else 0.0
