"""Scoring a network: whole images at one scale, every image once, over all processes together."""

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

# Classified images have one size and come in batches; whole images to be segmented one at a time.
CLASSIFIED_AT_A_TIME = 64


@dataclass(frozen=True)
class Score:
    """What a network gets right on a set of images. Ratios in 0..1.

    Attributes:
        metric: What ``value`` is: mean IoU, or top-1 accuracy.
        value: What networks are compared by.
        classes: The same by class: IoU, or the share of a class's images that are recognized. None for a class that
            does not occur: it does not count in a mean. (The CIRKD code counts absent classes as 0.) A class that is
            predicted but does not occur has IoU 0.
        pixel_accuracy: Share of the pixels that are right; None for classification.
    """

    metric: Metric
    value: float
    classes: dict[str, float | None]
    pixel_accuracy: float | None = None

    @classmethod
    def of_segmentation(cls, confusion: Tensor, classes: tuple[str, ...]) -> "Score":
        """Read the scores off a confusion matrix of pixels, shape (C, C), rows truth, columns prediction."""
        counts = confusion.cpu().double()
        hits = counts.diagonal()
        iou = _shares(hits, counts.sum(0) + counts.sum(1) - hits, classes)
        present = [value for value in iou.values() if value is not None]
        mean = sum(present) / len(present) if present else 0.0
        return cls(METRICS["segmentation"], mean, iou, _share(hits.sum(), counts.sum()))

    @classmethod
    def of_classification(cls, confusion: Tensor, classes: tuple[str, ...]) -> "Score":
        """Read the scores off a confusion matrix of images."""
        counts = confusion.cpu().double()
        hits = counts.diagonal()
        share = _share(hits.sum(), counts.sum())
        return cls(METRICS["classification"], share, _shares(hits, counts.sum(1), classes))

    def record(self) -> dict[str, Any]:
        """Return the scores under the keys of a run's result."""
        more = {} if self.pixel_accuracy is None else {"pixel_accuracy": self.pixel_accuracy}
        return {self.metric.key: self.value, self.metric.classes: self.classes, **more}


def scoring_transform(data: Data, task: Task) -> Transform:
    """Return what images are scored with: whole ones for segmentation, their center for classification."""
    transform: Transform = (
        classification_evaluation_transform(data.crop) if task == "classification" else evaluation_transform()
    )
    return transform


def predict(network: nn.Module, images: Tensor, size: tuple[int, int], void: Sequence[int] = ()) -> Tensor:
    """Return the class of every pixel, shape (N, H, W), with the logits upsampled to ``size``.

    Bilinear with ``align_corners=True``, as the task loss does it and the CIRKD code evaluates. The classes of ``void``
    are never predicted.
    """
    return _classes(run(network, images).logits, size, void)


def predict_like(network: nn.Module, images: Tensor, labels: Tensor, void: Sequence[int] = ()) -> Tensor:
    """Return the class of each image where ``labels`` are (N,), of every pixel where they are (N, H, W)."""
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
    """Score the first image of a data set and forget it: what a validation would stumble on is found before training.

    Args:
        network, dataset, fabric, data: As for :func:`evaluate`.
        who: What an error calls the network.

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
    """Refuse scores that are not one for each class, of each pixel or image."""
    if logits.dim() != labels.dim() + 1:
        expected = "(N, classes)" if labels.dim() == 1 else "(N, classes, h, w)"
        raise UserError(f"{who} gives scores of shape {tuple(logits.shape)}; expected {expected}")
    if logits.shape[1] != classes:
        raise UserError(
            f"{who} gives {logits.shape[1]} scores and the data set has {classes} classes; build it with one output "
            "for each class (a callable is told how many, num_classes)"
        )


@torch.no_grad()
def evaluate(network: nn.Module, dataset: ImageSet, fabric: Fabric, data: Data, who: str = "the network") -> Score:
    """Score a network on a data set: labels at their own size; every process sees its share of the images once.

    Args:
        network: On the engine's device.
        dataset: The images.
        fabric: The engine.
        data: How they are read: the crop of classification, workers.
        who: What an error calls the network.

    Raises:
        UserError: A weight is not finite, the network cannot take whole images, or it gives other scores than one for
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
