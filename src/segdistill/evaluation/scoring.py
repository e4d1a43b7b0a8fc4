"""Scores of a network on a data set: every image once, over all processes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from segdistill.data import (
    ClassificationDataset,
    SegmentationDataset,
    Task,
    classification_evaluation_transform,
    evaluation_loader,
    evaluation_transform,
)
from segdistill.data.stream import Transform
from segdistill.distillation.modes import evaluating
from segdistill.distillation.running import run
from segdistill.errors import FOREIGN, UserError, first_line
from segdistill.evaluation.best_classes import best_classes
from segdistill.evaluation.class_scores import ONE_PASS
from segdistill.evaluation.confusion import Confusion
from segdistill.evaluation.finite import check_loaded
from segdistill.evaluation.image_counter import ImageCounter
from segdistill.recipes.schema import Data, Evaluation
from segdistill.runs.metric import METRICS, Metric
from segdistill.statistics.image_counts import ImageCounts
from segdistill.system.memory import lacks_memory, short_of_memory
from segdistill.system.progress import tracked

ImageSet = SegmentationDataset | ClassificationDataset

# Images to classify are scored in batches of this size.
CLASSIFIED_AT_A_TIME = 64

# The largest batch of whole images of one size to segment on a GPU, in images and in pixels. On a CPU, a batch is no
# faster than one image at a time.
SEGMENTED_AT_A_TIME = 8
PIXELS_AT_A_TIME = 2**22


@dataclass(frozen=True)
class Score:
    """The scores of a network on a set of images, in 0..1.

    Attributes:
        metric: The metric of ``value``: mean IoU, or top-1 accuracy.
        value: The score that networks are compared by.
        classes: The score of each class: IoU, or the share of the class's images that are classified correctly. A class
            that is neither in the labels nor predicted has None and does not count in the mean, or 0 if the protocol
            counts it (``evaluation.absent=zero``, as in the CIRKD code). A class that is predicted but does not occur
            in the labels has IoU 0.
        more: Other scores of a segmentation, by the keys of ``MORE``: the share of pixels that are classified
            correctly; its mean over the classes in the labels; the mean IoU weighted by the classes' pixels.
        images: The counts of each image, if :func:`evaluate` was told to keep them.
    """

    metric: Metric
    value: float
    classes: dict[str, float | None]
    more: dict[str, float] = field(default_factory=dict)
    images: ImageCounts | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of_segmentation(cls, confusion: Tensor, classes: tuple[str, ...], *, counted: Sequence[str] = ()) -> "Score":
        """Return the scores of a confusion matrix of pixels.

        Args:
            confusion: Numbers of pixels, of shape (C, C): rows are labels, columns predictions.
            classes: The names of the classes.
            counted: The classes that count as 0 if they are neither in the labels nor predicted.
        """
        counts = confusion.cpu().double()
        hits, labels = counts.diagonal(), counts.sum(1)
        iou = _with_zeros(_shares(hits, counts.sum(0) + labels - hits, classes), counted)
        accuracy = _with_zeros(_shares(hits, labels, classes), counted)
        weighted = sum(share * float(count) for share, count in zip(iou.values(), labels, strict=True) if share)
        more = {
            "pixel_accuracy": _share(hits.sum(), counts.sum()),
            "class_accuracy": _mean(accuracy),
            "frequency_weighted_iou": weighted / max(1.0, float(labels.sum())),
        }
        return cls(METRICS["segmentation"], _mean(iou), iou, more)

    @classmethod
    def of_classification(cls, confusion: Tensor, classes: tuple[str, ...]) -> "Score":
        """Return the scores of a confusion matrix of images."""
        counts = confusion.cpu().double()
        hits = counts.diagonal()
        share = _share(hits.sum(), counts.sum())
        return cls(METRICS["classification"], share, _shares(hits, counts.sum(1), classes))

    def record(self) -> dict[str, Any]:
        """Return the scores under the keys of a run's result."""
        return {self.metric.key: self.value, self.metric.classes: self.classes, **self.more}


def scoring_transform(data: Data, task: Task, protocol: Evaluation = ONE_PASS) -> Transform:
    """Return the transform of images for scoring, which keeps the whole image, or its center for classification."""
    transform: Transform
    if task == "classification":
        transform = classification_evaluation_transform(data.crop)
    else:
        transform = evaluation_transform(protocol.short_side, resize_labels=protocol.resize_labels)
    return transform


def predict(
    network: nn.Module,
    images: Tensor,
    size: tuple[int, int],
    void: Sequence[int] = (),
    protocol: Evaluation = ONE_PASS,
) -> Tensor:
    """Return the class of every pixel, of shape (N, H, W), with the logits upsampled to ``size``.

    The network decides how the corners are aligned; see :func:`class_scores`. The classes in ``void`` are never
    predicted.
    """
    return best_classes(network, images, size, protocol, void=void)


def predict_like(network: nn.Module, images: Tensor, labels: Tensor, protocol: Evaluation = ONE_PASS) -> Tensor:
    """Return the class of each image if ``labels`` have shape (N,), or of every pixel if they have (N, H, W)."""
    if labels.dim() == 1:
        return run(network, images).logits.argmax(1)
    return predict(network, images, (labels.shape[1], labels.shape[2]), protocol=protocol)


@torch.no_grad()
def try_scoring(
    network: nn.Module,
    dataset: ImageSet,
    fabric: Fabric,
    data: Data,
    who: str,
    protocol: Evaluation = ONE_PASS,
) -> None:
    """Score the first image of a data set, so that an error of validation appears before training.

    On a GPU it is repeated as often as :func:`evaluate` scores images at once, so that a lack of memory appears too.

    Args:
        network, dataset, fabric, data, protocol: As for :func:`evaluate`.
        who: The name of the network in errors.

    Raises:
        UserError: As for :func:`evaluate`.
    """
    image, labels = scoring_transform(data, dataset.task, protocol)(*dataset[0])
    count = 1
    if fabric.device.type != "cpu":
        most = _batches(dataset.task == "classification", protocol, fabric.device)
        count = min(most["batch_size"], max(1, most.get("pixels", 2**62) // image[0].numel()), len(dataset))
    with evaluating(network):
        images, all_labels = image.expand(count, *image.shape), labels.expand(count, *labels.shape)
        _predict(network, images, all_labels, dataset, fabric, who, protocol)


def _predict(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    dataset: ImageSet,
    fabric: Fabric,
    who: str,
    protocol: Evaluation,
) -> Tensor:
    """Return the class of every pixel or image. The output of the network is checked."""
    images = images.to(fabric.device, non_blocking=True)

    def scores(network: nn.Module, images: Tensor) -> Tensor:
        logits = run(network, images).logits
        _check_scores(logits, labels, len(dataset.classes), who)
        return logits

    try:
        with fabric.autocast():
            if labels.dim() == 1:
                return scores(network, images).argmax(1)
            size = (labels.shape[1], labels.shape[2])
            return best_classes(network, images, size, protocol, scores, dataset.classes.void)
    except UserError:
        raise
    except FOREIGN as error:
        height, width = images.shape[-2:]
        if lacks_memory(error):
            remedy = "batch_size=1" if len(images) > 1 else "window=[HEIGHT,WIDTH]"
            what = f"scoring {who} on {len(images)} image(s) of {height}x{width} at once"
            raise short_of_memory(what, error, f"give evaluation.{remedy}") from error
        reason = first_line(error).rstrip(".")
        raise UserError(
            f"{who} cannot take an image of {height}x{width}: {reason}; images are scored whole, so it must take any "
            "size (encoders of timm: options.strict_img_size=false for Swin, options.dynamic_img_size=true for ViT); "
            "or give evaluation.window=[HEIGHT,WIDTH]"
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
def evaluate(
    network: nn.Module,
    dataset: ImageSet,
    fabric: Fabric,
    data: Data,
    who: str = "the network",
    protocol: Evaluation = ONE_PASS,
    *,
    keeps_images: bool = False,
) -> Score:
    """Return the score of a network on a data set, with predictions at the size of the labels.

    Every process reads its share of the images once; the score covers all images.

    Args:
        network: The network, on the engine's device.
        dataset: The images and labels.
        fabric: The engine.
        data: The section ``data`` of a recipe; ``crop`` (for classification) and ``workers`` are read.
        who: The name of the network in errors.
        protocol: The section ``evaluation`` of a recipe; by default whole images at one scale.
        keeps_images: Whether the score has the counts of each image. They are fetched from the device once.

    Raises:
        UserError: A weight is not finite, the network cannot take whole images, or it does not return one score for
            each class.
    """
    check_loaded(network, f"{who}'s")
    classes = dataset.classes
    classifies = dataset.task == "classification"
    confusion = Confusion(len(classes), dataset.ignore_index, fabric.device)
    counter = None
    if keeps_images:
        counter = ImageCounter(len(dataset), len(classes), dataset.ignore_index, fabric, classifies=classifies)
    loader = evaluation_loader(
        dataset,
        scoring_transform(data, dataset.task, protocol),
        **_batches(classifies, protocol, fabric.device),
        workers=data.loaders,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )
    with evaluating(network):
        for images, labels in tracked(loader, f"scoring {who}", len(loader)):
            predicted = _predict(network, images, labels, dataset, fabric, who, protocol)
            labels = labels.to(fabric.device, non_blocking=True)
            confusion.add(predicted, labels)
            if counter is not None:
                counter.add(predicted, labels)
    counts = confusion.total(fabric)
    named = [name for index, name in enumerate(classes.names) if index not in classes.void]
    counted = named if protocol.absent == "zero" and not classifies else []
    if classifies:
        score = Score.of_classification(counts, classes.names)
    else:
        score = Score.of_segmentation(counts, classes.names, counted=counted)
    if counter is None:
        return score
    images = counter.gathered([dataset.name(index) for index in range(len(dataset))], classes.names, counted)
    return replace(score, images=images)


def _batches(classifies: bool, protocol: Evaluation, device: torch.device) -> dict[str, Any]:
    """Return how many images are scored at once, for :func:`evaluation_loader`."""
    if classifies:
        return {"batch_size": CLASSIFIED_AT_A_TIME}
    if protocol.batch_size is not None:
        return {"batch_size": protocol.batch_size}
    return {"batch_size": 1 if device.type == "cpu" else SEGMENTED_AT_A_TIME, "pixels": PIXELS_AT_A_TIME}


def _shares(hits: Tensor, totals: Tensor, classes: tuple[str, ...]) -> dict[str, float | None]:
    return {
        name: float(hit / total) if total > 0 else None for name, hit, total in zip(classes, hits, totals, strict=True)
    }


def _with_zeros(shares: dict[str, float | None], counted: Sequence[str]) -> dict[str, float | None]:
    return {name: 0.0 if share is None and name in counted else share for name, share in shares.items()}


def _mean(shares: dict[str, float | None]) -> float:
    present = [share for share in shares.values() if share is not None]
    return sum(present) / len(present) if present else 0.0


def _share(hits: Tensor, total: Tensor) -> float:
    return float(hits / total) if total > 0 else 0.0
