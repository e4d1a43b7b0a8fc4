"""Images to explain, with labels: from a data set, or from files with the classes that a network predicts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from segdistill.data import SegmentationDataset, denormalize
from segdistill.data.decoding.images import read_image
from segdistill.data.stream import Transform
from segdistill.distillation.modes import evaluating
from segdistill.evaluation.scoring import predict
from segdistill.reports.drawing import Pixels


@dataclass(frozen=True)
class Example:
    """One image to explain.

    Attributes:
        name: The name of the image.
        image: The normalized image, shape (1, 3, H, W).
        labels: Class indices, shape (1, H', W').
        source: Where the labels come from, in words.
    """

    name: str
    image: Tensor
    labels: Tensor
    source: str

    @property
    def stem(self) -> str:
        """The name as a part of a file name."""
        return re.sub(r"[^\w.-]+", "_", self.name).strip("._") or "image"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the labels, and of the pictures."""
        return int(self.labels.shape[1]), int(self.labels.shape[2])

    def pixels(self) -> Pixels:
        """Return the image at the size of the labels, uint8 (H', W', 3)."""
        resized = torch.nn.functional.interpolate(self.image.cpu(), self.size, mode="bilinear")[0]
        found: Pixels = denormalize(resized).permute(1, 2, 0).contiguous().numpy()
        return found


def dataset_examples(dataset: SegmentationDataset, transform: Transform, count: int) -> list[Example]:
    """Return ``count`` images spread evenly over a data set, with its labels."""
    chosen = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
    found = []
    for index in map(int, chosen):
        image, labels = transform(*dataset[index])
        found.append(Example(dataset.name(index), _plain(image)[None], _plain(labels)[None].long(), "the data set"))
    return found


def file_examples(
    files: Sequence[Path], transform: Transform, network: nn.Module, void: Sequence[int], *, scale: float, source: str
) -> list[Example]:
    """Return images of files, with the classes that ``network`` predicts as labels.

    Args:
        files: The files.
        transform: The transform of images for scoring.
        network: The network.
        void: Classes that are never predicted.
        scale: Factor by which to resize images on reading, ``data.scale``.
        source: The name of the network.

    Raises:
        UserError: A file is damaged or not an image.
    """
    device, found = next(network.parameters()).device, []
    for file in files:
        pixels = read_image(file)
        height, width = pixels.shape[:2]
        image = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))
        if scale != 1:
            image = F.resize(image, [max(1, round(height * scale)), max(1, round(width * scale))], antialias=True)
        ready, _ = transform(image, tv_tensors.Mask(torch.zeros(image.shape[-2:], dtype=torch.uint8)))
        batch = _plain(ready)[None]
        with evaluating(network), torch.no_grad():
            labels = predict(network, batch.to(device, copy=True), (height, width), void).long().cpu()
        found.append(Example(file.stem, batch, labels, source))
    return found


def _plain(values: Tensor) -> Tensor:
    return values.as_subclass(Tensor)
