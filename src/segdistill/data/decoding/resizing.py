"""Scale labels as images are scaled: by the centers of pixels."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor
from torchvision import tv_tensors


def resized_labels(labels: Tensor, size: Sequence[int]) -> tv_tensors.Mask:
    """Return labels (H, W), each that of the source pixel on which the new pixel's center lies.

    torchvision's own resize of masks takes the pixel on which the new one's corner lies, which moves labels by up to
    half a pixel against their image. A center between two pixels, as in halving, counts to the right or lower one.

    Args:
        labels: Shape (H, W), uint8.
        size: The new height and width.
    """
    return tv_tensors.Mask(F.interpolate(labels[None, None], list(size), mode="nearest-exact")[0, 0])
