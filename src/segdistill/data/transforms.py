"""Augmentation of the papers' training protocols, built on torchvision.transforms.v2.

Images become RGB floats normalized with ImageNet's mean and standard deviation, as torchvision's and timm's backbones
expect. CIRKD's released code instead uses BGR in 0..255 minus the mean, which matches its own backbones.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from segdistill.data.classes import VOID
from segdistill.data.decoding.resizing import resized_labels
from segdistill.data.decoding.short_side import at_short_side
from segdistill.data.normalizing import MEAN, STD, Normalized
from segdistill.errors import UserError

SCALES = tuple(0.5 + step / 10 for step in range(16))  # 0.5, 0.6, ... 2.0

# Standard deviations of the blur, in pixels, and the size of its kernel, which reaches three deviations to each side.
_BLUR_SIGMA = (1e-3, 1.0)
_BLUR_KERNEL = 7

_FILL = {
    tv_tensors.Image: [round(255 * value) for value in MEAN],  # about 0 after normalization
    tv_tensors.Mask: VOID,
}


class RandomScaleCrop(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Resize by a random factor, pad right and bottom up to the crop size, and cut a random crop.

    For speed the window is cut from the source first and then resized, so a whole image is never enlarged. The window
    has whole source pixels; the actual factor therefore differs from the drawn one by at most half a source pixel per
    crop. Images are resized bilinearly (antialiased), labels by nearest neighbor between pixel centers. Images are
    padded with the mean color, labels with void.

    Args:
        crop: Height and width in pixels.
        scales: Factors to draw from uniformly, relative to the image's size.
        short_side: The short side to which an image is first scaled, so that the factors are relative to it. None keeps
            the image's size.
    """

    def __init__(
        self, crop: tuple[int, int], scales: Sequence[float] = SCALES, *, short_side: int | None = None
    ) -> None:
        super().__init__()
        if min(crop) < 1:
            raise UserError(f"the crop must be at least 1x1 pixels, got {crop[0]}x{crop[1]} (height x width)")
        if not scales or min(scales) <= 0:
            raise UserError(f"scales must be factors > 0, got {list(scales)}")
        if short_side is not None and short_side < 1:
            raise UserError(f"short_side must be at least 1 pixel, got {short_side}")
        self.crop = crop
        self.scales = tuple(scales)
        self.short_side = short_side

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the factor and the window."""
        scale = self.scales[int(torch.randint(len(self.scales), ()))]
        start, window, size = [], [], []
        extents = v2.query_size(flat_inputs)
        if self.short_side is not None:
            scale *= self.short_side / min(extents)
        for crop, extent in zip(self.crop, extents, strict=True):
            full = max(1, round(crop / scale))
            cut = min(full, extent)
            start.append(int(torch.randint(extent - cut + 1, ())))
            window.append(cut)
            # A window limited by the image's size keeps the scale; padding fills the rest of the crop.
            size.append(crop if cut == full else min(crop, max(1, round(cut * scale))))
        return {"start": start, "window": window, "size": size}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Cut, resize and pad one image or mask."""
        (height, width), (crop_height, crop_width) = params["size"], self.crop
        if isinstance(inpt, tv_tensors.Mask):
            inpt = resized_labels(F.crop(inpt, *params["start"], *params["window"]), params["size"])
        else:
            inpt = F.resized_crop(inpt, *params["start"], *params["window"], params["size"], antialias=True)
        if (height, width) != self.crop:
            inpt = F.pad(inpt, [0, 0, crop_width - width, crop_height - height], fill=_FILL[type(inpt)])
        return inpt


def training_transform(
    crop: tuple[int, int], scales: Sequence[float] = SCALES, *, short_side: int | None = None, blur: float = 0.0
) -> v2.Transform:
    """Return random scaling, cropping and horizontal flipping, followed by normalization.

    Maps an item of a data set to an image, float32 (3, h, w), and its labels, int64 (h, w), with (h, w) = ``crop``.

    Args:
        crop: Height and width in pixels.
        scales: Factors to draw from uniformly.
        short_side: The short side to which the factors are relative; None for the image's size.
        blur: Share of the crops that are blurred, by a Gaussian with a standard deviation of 0 to 1 pixels.

    Reference: the protocol of CIRKD (Yang et al., CVPR 2022) as released, https://github.com/winycg/CIRKD:
    no color jitter, rotation or blur. AICSD's released code has ``short_side=513`` and ``blur=0.5``.
    """
    blurred = [v2.RandomApply([v2.GaussianBlur(_BLUR_KERNEL, _BLUR_SIGMA)], blur)] if blur else []
    scaled = RandomScaleCrop(crop, scales, short_side=short_side)
    return v2.Compose([scaled, v2.RandomHorizontalFlip(0.5), *blurred, evaluation_transform()])


class ShortSide(v2.Transform):  # type: ignore[misc]
    """Resize images to a short side, and their labels too or not.

    Args:
        size: The short side, in pixels. The aspect ratio is kept.
        resize_labels: Whether to resize the labels, each pixel taking the label under its center.
    """

    def __init__(self, size: int, *, resize_labels: bool) -> None:
        super().__init__()
        self.size = size
        self.resize_labels = resize_labels

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize one image or mask."""
        if isinstance(inpt, tv_tensors.Mask) and not self.resize_labels:
            return inpt
        size = list(at_short_side(inpt.shape[-2], inpt.shape[-1], self.size))
        if isinstance(inpt, tv_tensors.Mask):
            return resized_labels(inpt, size)
        return F.resize(inpt, size, antialias=True)


def evaluation_transform(short_side: int | None = None, *, resize_labels: bool = False) -> v2.Transform:
    """Return normalization: float32 RGB with ImageNet's mean and deviation removed, and int64 labels.

    Args:
        short_side: The short side to which images are resized first; None keeps their size.
        resize_labels: Whether the labels are resized with the images.
    """
    resize = [] if short_side is None else [ShortSide(short_side, resize_labels=resize_labels)]
    return v2.Compose([*resize, Normalized(), v2.ToPureTensor()])


def classification_training_transform(crop: tuple[int, int], areas: tuple[float, float] = (0.08, 1.0)) -> v2.Transform:
    """Return a random resized crop and horizontal flip, followed by normalization.

    Maps an item of a classification set to an image, float32 (3, h, w) with (h, w) = ``crop``, and its class index,
    int64 ().

    Args:
        crop: Height and width in pixels.
        areas: Smallest and largest share of the image's area to keep. The aspect ratio is drawn from 3/4 .. 4/3.

    Reference: the ImageNet protocol ("B1") of DIST (Huang et al., NeurIPS 2022), which the GSKD paper follows.
    """
    part = v2.RandomResizedCrop(crop, scale=areas, antialias=True)
    return v2.Compose([part, v2.RandomHorizontalFlip(0.5), evaluation_transform()])


def classification_evaluation_transform(crop: tuple[int, int]) -> v2.Transform:
    """Return a resize to 256/224 of the crop size, a center crop of ``crop`` = (h, w), and normalization.

    For a crop of 224x224 the shorter side becomes 256 pixels, the standard evaluation on ImageNet.
    """
    return v2.Compose([classification_view(crop), evaluation_transform()])


def classification_view(crop: tuple[int, int]) -> v2.Transform:
    """Return the resize and center crop of :func:`classification_evaluation_transform`, without normalization."""
    return v2.Compose([v2.Resize(round(max(crop) * 256 / 224), antialias=True), v2.CenterCrop(crop)])


def denormalize(images: Tensor) -> Tensor:
    """Convert normalized images (..., 3, H, W) to uint8 RGB, for pictures."""
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
