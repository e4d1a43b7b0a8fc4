"""Datasets: image i with its labels, as uint8 tensors, 255 = void."""

from abc import ABC, abstractmethod
from pathlib import Path

import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from segdistill.data.classes import Classes
from segdistill.data.layouts import Layout
from segdistill.data.masks import read_mask
from segdistill.data.reading import Array, image_size, read_image
from segdistill.errors import UserError

Sample = tuple[tv_tensors.Image, tv_tensors.Mask]


class SegmentationDataset(Dataset[Sample], ABC):
    """Item ``i`` is an image, uint8 (3, H, W), and its labels, uint8 (H', W') with 255 = void.

    Args:
        classes: What the labels mean.
        scale: Resize to this factor on reading: images bilinear with antialiasing, labels nearest.
        native_labels: Leave the labels at their own size, as evaluation does; only the image is resized.
        cache: Keep decoded items in memory. Each loader worker has a cache of its own. Items are shared: do
            not change them in place.
    """

    def __init__(
        self,
        classes: Classes,
        *,
        scale: float | None = None,
        native_labels: bool = False,
        cache: bool = False,
    ) -> None:
        if scale is not None and not 0 < scale <= 16:
            raise UserError(f"scale must be in (0, 16], got {scale}; 0.5 halves width and height")
        self.classes = classes
        self.scale = scale
        self.native_labels = native_labels
        self.cache = cache
        self._kept: dict[int, Sample] = {}

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name(self, index: int) -> str:
        """Return a short name for an item, for instance its file's stem."""

    @abstractmethod
    def path(self, index: int) -> Path | None:
        """Return the image's file; None for generated images."""

    @abstractmethod
    def read(self, index: int) -> tuple[Array, Array]:
        """Return the image (H, W, 3) and the labels (H, W), both uint8."""

    def read_labels(self, index: int) -> Array:
        """Return the labels of :meth:`read` alone; cheaper where the image need not be decoded."""
        return self.read(index)[1]

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside 0..{len(self) - 1}")
        sample = self._kept.get(index)
        if sample is None:
            sample = self._scaled(*self.read(index))
            if self.cache:
                self._kept[index] = sample
        return sample

    def _scaled(self, image_array: Array, label_array: Array) -> Sample:
        image = tv_tensors.Image(torch.from_numpy(image_array).permute(2, 0, 1))
        labels = tv_tensors.Mask(torch.from_numpy(label_array))
        if self.scale is not None and self.scale != 1:
            height, width = image_array.shape[:2]
            size = [max(1, round(height * self.scale)), max(1, round(width * self.scale))]
            image = F.resize(image, size, antialias=True)
            if not self.native_labels:
                labels = F.resize(labels, size)
        return image, labels


class FileDataset(SegmentationDataset):
    """The images and masks of one split of a layout on disk."""

    def __init__(
        self,
        layout: Layout,
        split: str,
        classes: Classes,
        *,
        scale: float | None = None,
        native_labels: bool = False,
        cache: bool = False,
    ) -> None:
        super().__init__(classes, scale=scale, native_labels=native_labels, cache=cache)
        self.layout = layout
        self.split = layout.split(split)

    def __len__(self) -> int:
        return len(self.split.images)

    def name(self, index: int) -> str:
        """Return the stem of the image's file."""
        return self.split.images[index].stem

    def path(self, index: int) -> Path:
        """Return the image's file."""
        return self.split.images[index]

    def read(self, index: int) -> tuple[Array, Array]:
        """Decode the image and its mask."""
        image = read_image(self.path(index))
        return image, self._read_labels(index, image.shape[:2])

    def read_labels(self, index: int) -> Array:
        """Decode the mask; of the image only the header is read."""
        return self._read_labels(index, image_size(self.path(index)))

    def _read_labels(self, index: int, size: tuple[int, ...]) -> Array:
        path = self.split.labels[index]
        layout = self.layout
        labels = read_mask(path, len(self.classes), void=layout.void, values=layout.values, colours=layout.colours)
        if labels.shape != size:
            mask_size, own_size = (f"{width}x{height}" for height, width in (labels.shape, size))
            raise UserError(
                f"mask '{path}' is {mask_size} but its image '{self.path(index)}' is {own_size} "
                "(width x height, upright); a mask needs its image's size"
            )
        return labels
