"""Whole-image, single-scale evaluation: one confusion matrix over the whole set, IoU from its sums."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix

from segdistill.data import SegmentationDataset, evaluation_loader, evaluation_transform
from segdistill.outputs import read_output
from segdistill.taps import evaluating


@dataclass(frozen=True)
class Score:
    """What a network gets right on a set of images. Ratios in 0..1.

    A class that occurs neither in the labels nor in the predictions has no IoU (None) and does not count in the mean;
    a class that is predicted but does not occur has IoU 0. (The CIRKD code counts absent classes as 0.)
    """

    iou: dict[str, float | None]
    miou: float
    pixel_accuracy: float

    @classmethod
    def from_confusion(cls, confusion: Tensor, classes: tuple[str, ...]) -> "Score":
        """Read the scores off a confusion matrix, shape (C, C), rows truth, columns prediction."""
        counts = confusion.cpu().double()
        hits = counts.diagonal()
        union = counts.sum(0) + counts.sum(1) - hits
        iou = {
            name: float(hit / either) if either > 0 else None
            for name, hit, either in zip(classes, hits, union, strict=True)
        }
        present = [value for value in iou.values() if value is not None]
        total = float(counts.sum())
        return cls(
            iou=iou,
            miou=sum(present) / len(present) if present else 0.0,
            pixel_accuracy=float(hits.sum()) / total if total else 0.0,
        )


def predict(network: nn.Module, images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the class of every pixel, shape (N, H, W), with the logits upsampled to ``size``.

    Bilinear with ``align_corners=True``, as the task loss does it and the CIRKD code evaluates.
    """
    logits = read_output(network(images)).logits
    return F.interpolate(logits.float(), size, mode="bilinear", align_corners=True).argmax(1)


@torch.no_grad()
def evaluate(network: nn.Module, dataset: SegmentationDataset, fabric: Fabric, *, workers: int = 0) -> Score:
    """Score a network on a data set at the labels' own size; every process sees its share of the images once."""
    classes = dataset.classes
    metric = MulticlassConfusionMatrix(len(classes), ignore_index=255).to(fabric.device)
    loader = evaluation_loader(
        dataset,
        evaluation_transform(),
        workers=workers,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )
    with evaluating(network):
        for images, labels in loader:
            with fabric.autocast():
                predicted = predict(network, images.to(fabric.device), (labels.shape[-2], labels.shape[-1]))
            metric.update(predicted, labels.to(fabric.device))
    return Score.from_confusion(metric.compute(), classes.names)
