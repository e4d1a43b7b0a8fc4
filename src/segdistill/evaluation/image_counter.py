"""Counts of each image on the device, fetched once after the last image."""

from collections.abc import Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor

from segdistill.evaluation.confusion import count
from segdistill.statistics.image_counts import ImageCounts, entries_of, entries_of_images


class ImageCounter:
    """Hits, label pixels and predicted pixels by image and class. Void pixels do not count.

    Every process counts the images rank, rank + world_size, ..., in this order, as :func:`evaluation_loader` visits
    them. The counts take 12 bytes for each image and class on the device; for classification, 8 bytes for each image.

    Args:
        images: The number of images over all processes.
        classes: The number of classes.
        ignore_index: The label of positions that do not count.
        fabric: The engine.
        classifies: Whether an image has one label, not a label for each pixel.
    """

    def __init__(self, images: int, classes: int, ignore_index: int, fabric: Fabric, *, classifies: bool) -> None:
        self.classes, self.ignore_index, self.fabric, self.classifies = classes, ignore_index, fabric, classifies
        shape = (images, 2) if classifies else (images, classes, 3)
        self._counts = torch.zeros(shape, dtype=torch.int32, device=fabric.device)
        self._next = fabric.global_rank

    def add(self, predicted: Tensor, labels: Tensor) -> None:
        """Count the predictions of the next images.

        Args:
            predicted: Class indices, of shape (N, H, W), or (N,) for classification.
            labels: Class indices or ``ignore_index``, of the same shape.
        """
        step, number = self.fabric.world_size, len(labels)
        rows = self._counts[self._next : self._next + number * step : step]
        self._next += number * step
        is_labeled = labels != self.ignore_index
        if self.classifies:
            rows.copy_(torch.stack([labels, predicted], 1).add(1) * is_labeled[:, None])  # 0: not labeled
            return
        size = self.classes + 1  # the last one: positions that do not count
        first = size * torch.arange(number, device=labels.device).view(-1, 1, 1)
        kinds = ((labels, is_labeled & (labels == predicted)), (labels, is_labeled), (predicted, is_labeled))
        for kind, (indices, counted) in enumerate(kinds):
            found = count((torch.where(counted, indices, self.classes) + first).flatten(), number * size)
            rows[..., kind] = found.view(number, size)[:, :-1].to(torch.int32)

    def gathered(self, names: Sequence[str], classes: Sequence[str], counted: Sequence[str] = ()) -> ImageCounts:
        """Return the counts of all processes, in the order of the images. Call it in all processes.

        Args:
            names: The names of the images.
            classes: The names of the classes.
            counted: See :class:`ImageCounts`.
        """
        counts = self.fabric.all_reduce(self._counts, reduce_op="sum")
        assert isinstance(counts, Tensor)
        found = counts.cpu().numpy()
        if self.classifies:
            entries = entries_of_images(found[:, 0] - 1, found[:, 1] - 1)
            return ImageCounts("classification", tuple(classes), (), tuple(names), entries)
        return ImageCounts("segmentation", tuple(classes), tuple(counted), tuple(names), entries_of(found))
