"""Confusion matrix counted on the device, without a wait for the device at each image."""

import torch
from lightning_fabric import Fabric
from torch import Tensor

CPU = "cpu"


def count(indices: Tensor, size: int) -> Tensor:
    """Return how often each index below ``size`` occurs, int64 (size,), without a wait for an accelerator.

    Args:
        indices: Int64, of shape (P,).
        size: The number of different indices.
    """
    if indices.device.type == CPU:
        return indices.bincount(minlength=size)
    # bincount would wait for the largest index
    return torch.zeros(size, dtype=torch.long, device=indices.device).scatter_add_(0, indices, torch.ones_like(indices))


class Confusion:
    """Numbers of pixels, or of images, by label and prediction.

    Args:
        classes: The number of classes.
        ignore_index: The label of positions that do not count.
        device: The device of the predictions.
    """

    def __init__(self, classes: int, ignore_index: int, device: torch.device) -> None:
        self.classes = classes
        self.ignore_index = ignore_index
        self._counts = torch.zeros(classes**2 + 1, dtype=torch.long, device=device)  # the last one: ignored positions

    def add(self, predicted: Tensor, labels: Tensor) -> None:
        """Count predictions.

        Args:
            predicted: Class indices, of any shape.
            labels: Class indices or ``ignore_index``, of the same shape.
        """
        pairs = torch.where(labels == self.ignore_index, self.classes**2, labels * self.classes + predicted).flatten()
        self._counts += count(pairs, len(self._counts))

    def total(self, fabric: Fabric) -> Tensor:
        """Return the sum over all processes, int64 (C, C): rows are labels, columns predictions."""
        counts: Tensor = fabric.all_reduce(self._counts, reduce_op="sum")  # type: ignore[assignment]
        return counts[:-1].view(self.classes, self.classes).cpu()
