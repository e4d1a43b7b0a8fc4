"""Pictures of a run's training crops and predictions, drawn with :mod:`segdistill.reports.drawing`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from segdistill.data import Classes, SegmentationDataset, TrainingStream, denormalize, evaluation_transform
from segdistill.evaluation.class_scores import ONE_PASS
from segdistill.evaluation.scoring import predict
from segdistill.recipes.schema import Evaluation
from segdistill.reports.drawing import Pixels, colored, grid, overlaid


def training_samples(stream: TrainingStream, classes: Classes, file: Path, *, count: int = 4) -> None:
    """Draw the first augmented crops of the training, each next to its labels."""
    rows = []
    for position in range(count):
        image, labels = stream[position]
        pixels = _pixels(image)
        marks = labels.cpu().numpy()
        rows.append({"training crop": pixels, "labels": overlaid(pixels, marks, classes)})
    grid(rows, classes, file, width=240)


@torch.no_grad()
def side_by_side(
    networks: Mapping[str, nn.Module],
    dataset: SegmentationDataset,
    fabric: Fabric,
    file: Path,
    protocol: Evaluation = ONE_PASS,
    *,
    count: int = 4,
) -> None:
    """Draw images spread over a data set: each image, its labels and what every network predicts under the protocol."""
    transform = evaluation_transform(protocol.short_side)  # the labels keep their size
    rows = []
    for index in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int):
        sample = dataset[int(index)]
        image, labels = evaluation_transform()(*sample)
        scored, _ = transform(*sample)
        size = (labels.shape[-2], labels.shape[-1])
        resized = torch.nn.functional.interpolate(image[None], size, mode="bilinear")[0]
        row = {"image": _pixels(resized), "truth": colored(labels.cpu().numpy(), dataset.classes)}
        for name, network in networks.items():
            network.to(fabric.device).eval()
            # A copy for each network, because it may change its input in place.
            images, void = scored[None].to(fabric.device, copy=True), dataset.classes.void
            predicted = predict(network, images, size, void, protocol)[0]
            row[name] = colored(predicted.cpu().numpy(), dataset.classes)
        rows.append(row)
    grid(rows, dataset.classes, file)


def _pixels(image: torch.Tensor) -> Pixels:
    """Return a normalized image, shape (3, H, W), as pixels, shape (H, W, 3)."""
    pixels: Pixels = denormalize(image).permute(1, 2, 0).cpu().numpy()
    return pixels
