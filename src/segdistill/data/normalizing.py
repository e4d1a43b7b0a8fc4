"""Normalization with ImageNet's mean and standard deviation, by a table of the 256 levels on a CPU.

The operations that the table replaces compute it. They work on each value alone, so results are equal to the bit. One
lookup replaces four passes over an image in float32.
"""

from functools import cache as remember
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Normalized(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Convert images to float32 with ImageNet's mean and deviation removed, and masks to int64."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Convert one image or mask; return anything else as it is."""
        if isinstance(inpt, tv_tensors.Mask):
            return inpt.to(torch.int64)
        return tv_tensors.Image(normalized(inpt)) if isinstance(inpt, tv_tensors.Image) else inpt


def normalized(image: Tensor) -> Tensor:
    """Return an image (3, H, W) in float32, normalized, with the same strides."""
    image = image.as_subclass(Tensor)
    if image.dtype != torch.uint8 or image.device.type != "cpu":
        return _computed(image)
    pixels = image.numpy()
    found = np.empty(pixels.shape, np.float32)
    for levels, channel, into in zip(_levels(), pixels, found, strict=True):
        np.take(levels, channel, out=into, mode="clip")  # clip: without a check of the indices
    planes = torch.from_numpy(found)
    if image.is_contiguous():
        return planes
    return torch.empty_like(image, dtype=torch.float32).copy_(planes)


@remember
def _levels() -> NDArray[np.float32]:
    """Return the normalized value of each level of each channel, (3, 256)."""
    levels: NDArray[np.float32] = _computed(torch.arange(256, dtype=torch.uint8).repeat(3, 1, 1))[:, 0].numpy()
    return levels


def _computed(image: Tensor) -> Tensor:
    result: Tensor = F.normalize_image(F.to_dtype_image(image, torch.float32, scale=True), [*MEAN], [*STD])
    return result
