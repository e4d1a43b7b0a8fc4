"""Images on which networks differ most, with the predictions of each."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from segdistill.data import SegmentationDataset, denormalize
from segdistill.distillation.modes import evaluating
from segdistill.evaluation.scoring import predict, scoring_transform
from segdistill.recipes.schema import Data, Evaluation
from segdistill.reports.drawing import Labels, Pixels
from segdistill.reports.html.pictures import Scene
from segdistill.system.progress import tracked

# The number of images that are looked at, spread evenly over the data set, and the number that are kept.
LOOKED_AT, KEPT = 40, 8


def image_score(predicted: Labels, labels: Labels, void: int) -> float | None:
    """Return the mean IoU of one image over the classes that occur in its labels; None without labeled pixels.

    Args:
        predicted: The predicted classes, of shape (H, W).
        labels: The labels, of shape (H, W).
        void: The label of pixels that do not count.
    """
    labeled = labels != void
    predicted, labels = predicted[labeled], labels[labeled]
    shares = []
    for index in np.unique(labels):
        truth, found = labels == index, predicted == index
        shares.append(float((truth & found).sum() / (truth | found).sum()))
    return sum(shares) / len(shares) if shares else None


def change(scores: Sequence[float | None]) -> float:
    """Return by how much the scores of one image differ: the highest minus the lowest.

    A single network has nothing to differ from: its change is its distance from a perfect score.
    """
    known = [score for score in scores if score is not None]
    if not known:
        return 0.0
    return max(known) - min(known) if len(known) > 1 else 1 - known[0]


@torch.no_grad()
def most_changed(
    networks: Mapping[str, nn.Module],
    dataset: SegmentationDataset,
    fabric: Fabric,
    data: Data,
    protocol: Evaluation,
    *,
    students: Sequence[str],
    reference: str | None = None,
    looked_at: int = LOOKED_AT,
    kept: int = KEPT,
) -> tuple[Scene, ...]:
    """Return the images whose scores differ most between students, the largest difference first.

    Args:
        networks: The networks by name, on the device.
        dataset: The images and labels.
        fabric: The engine.
        data, protocol: The sections ``data`` and ``evaluation`` of a recipe.
        students: The networks whose scores are compared; others, such as a teacher, are only shown.
        reference: The network that the differences in the pictures refer to.
        looked_at: The number of images to look at, spread evenly over the data set.
        kept: The number of images to return.
    """
    transform, void = scoring_transform(data, dataset.task, protocol), dataset.classes.ignore_index
    scenes: list[Scene] = []
    chosen = np.linspace(0, len(dataset) - 1, min(looked_at, len(dataset))).round().astype(int)
    for index in tracked(chosen, "pictures of the report", len(chosen)):
        image, target = transform(*dataset[int(index)])
        size = (int(target.shape[-2]), int(target.shape[-1]))
        labels = target.numpy().astype(np.uint8)
        predicted = {}
        for name, network in networks.items():
            with evaluating(network), fabric.autocast():
                batch = image[None].to(fabric.device, copy=True)  # a network may change its input in place
                found = predict(network, batch, size, dataset.classes.void, protocol)[0]
            predicted[name] = found.cpu().numpy().astype(np.uint8)
        scores = {name: image_score(found, labels, void) for name, found in predicted.items()}
        scenes.append(Scene(dataset.name(int(index)), _pixels(image), labels, predicted, scores, reference))
        scenes.sort(key=lambda scene: -change([scene.scores[name] for name in students]))
        del scenes[kept:]  # large images fill the memory
    return tuple(scenes)


def _pixels(image: torch.Tensor) -> Pixels:
    """Return a normalized image, shape (3, H, W), as pixels, shape (H, W, 3)."""
    pixels: Pixels = denormalize(image).permute(1, 2, 0).contiguous().numpy()
    return pixels
