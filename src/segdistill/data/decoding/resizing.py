"""Resizing of labels by pixel centers, as for images."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor
from torchvision import tv_tensors


def resized_labels(labels: Tensor, size: Sequence[int]) -> tv_tensors.Mask:
    """Resize labels by nearest neighbor between pixel centers.

    torchvision's resize of masks uses pixel corners, which shifts labels by up to half a pixel relative to their image.
    If a center falls between two source pixels, as when halving, the right or lower one is used.

    Args:
        labels: Shape (H, W), uint8.
        size: The new height and width.
    """
    return tv_tensors.Mask(F.interpolate(labels[None, None], list(size), mode="nearest-exact")[0, 0])
