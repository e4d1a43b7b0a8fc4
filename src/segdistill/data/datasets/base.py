"""Base classes of data sets for segmentation and classification."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import PIL
import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from segdistill.data.caches import Cache
from segdistill.data.classes import VOID, Classes
from segdistill.data.decoded.file import DecodedFile, Origin, Sample
from segdistill.data.decoding.images import Array, Source
from segdistill.data.decoding.resizing import resized_labels
from segdistill.data.layouts import Task
from segdistill.errors import UserError
from segdistill.system.progress import tracked

__all__ = ["ClassificationDataset", "ImageDataset", "Sample", "SegmentationDataset"]


class ImageDataset(Dataset[Sample], ABC):
    """Item ``i`` is an image, uint8 (3, H, W), and its labels.

    Args:
        classes: The classes of the labels.
        scale: Factor by which to resize images on reading, bilinearly with antialiasing.
        cache: True or "memory" keeps decoded items in memory; each loader worker has a separate cache. "memmap" and
            "device" take effect with :func:`segdistill.data.decoded.cache.prepare`. Do not modify cached items in
            place.

    Attributes:
        task: The kind of labels.
        ignore_index: The label of ignored positions.
        decoded_path: The file of decoded items, for "memmap".
        decoded: That file opened, if it exists and is up to date.
        device: The device that holds all items, for "device"; None if none does.
    """

    task: ClassVar[Task]
    ignore_index: ClassVar[int]

    def __init__(self, classes: Classes, *, scale: float | None = None, cache: Cache = False) -> None:
        if scale is not None and not 0 < scale <= 16:
            raise UserError(f"scale must be in (0, 16], got {scale}; 0.5 halves width and height")
        self.classes = classes
        self.scale = scale
        self.cache = cache
        self.decoded_path: Path | None = None
        self.decoded: DecodedFile | None = None
        self.device: torch.device | None = None
        self._cached: dict[int, Sample] = {}

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name(self, index: int) -> str:
        """Return a short name of an item, for example its file's stem."""

    @abstractmethod
    def path(self, index: int) -> Path | None:
        """Return the image's file, or None for items without files."""

    def source(self, index: int) -> Source | None:
        """Return what the image is decoded from: its file, or its bytes in a table; None for generated items."""
        return self.path(index)

    @abstractmethod
    def _sample(self, index: int) -> Sample:
        """Read and scale an item."""

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside 0..{len(self) - 1}")
        if self.decoded is not None:
            return self.decoded.sample(index)
        sample = self._cached.get(index)
        if sample is None:
            sample = self._sample(index)
            if self.cache in (True, "memory"):
                self._cached[index] = sample
        return sample

    def move_to(self, device: torch.device, what: str = "decoding images") -> None:
        """Decode all items once and keep them on a device.

        Args:
            device: The device.
            what: The name of the work, for its progress.
        """
        for index in tracked(range(len(self)), what, len(self)):
            image, labels = self[index]
            self._cached[index] = (image.to(device), labels.to(device))
        self.device = device

    def origins(self) -> list[Origin] | None:
        """Return what identifies the source of each item, in JSON; None for items without files.

        An origin changes with the names, sizes and modification times of the item's files.
        """
        return None

    def settings(self) -> dict[str, Any]:
        """Return what else decides the values of the items, in JSON."""
        return {"task": self.task, "scale": self.scale, "versions": [str(torch.__version__), PIL.__version__]}

    @abstractmethod
    def image_size(self, index: int) -> tuple[int, int]:
        """Return the height and width of an image before scaling, without decoding it if possible."""

    def bytes_of(self, index: int) -> int:
        """Return the size of a decoded item in bytes."""
        height, width = self._scaled_size(self.image_size(index))
        return 3 * height * width

    def _scaled_size(self, size: Sequence[int]) -> list[int]:
        if self.scale is None or self.scale == 1:
            return list(size)
        return [max(1, round(extent * self.scale)) for extent in size]

    def _scaled(self, pixels: Array) -> tv_tensors.Image:
        image = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))
        if self.scale is None or self.scale == 1:
            return image
        return F.resize(image, self._scaled_size(pixels.shape[:2]), antialias=True)


class SegmentationDataset(ImageDataset):
    """Item ``i`` is an image, uint8 (3, H, W), and its labels, uint8 (H', W') with 255 = void.

    Args:
        classes, scale, cache: See :class:`ImageDataset`. Labels are scaled by nearest neighbor between pixel centers.
        native_labels: Keep labels at their original size, as evaluation does; scale only the image.
    """

    task = "segmentation"
    ignore_index = VOID

    def __init__(
        self,
        classes: Classes,
        *,
        scale: float | None = None,
        native_labels: bool = False,
        cache: Cache = False,
    ) -> None:
        super().__init__(classes, scale=scale, cache=cache)
        self.native_labels = native_labels

    @abstractmethod
    def read(self, index: int) -> tuple[Array, Array]:
        """Return the image (H, W, 3) and the labels (H, W), both uint8."""

    def read_labels(self, index: int) -> Array:
        """Return only the labels of :meth:`read`, without decoding the image if possible."""
        return self.read(index)[1]

    def image_size(self, index: int) -> tuple[int, int]:
        """Return the height and width of an image before scaling."""
        height, width = self.read(index)[0].shape[:2]
        return height, width

    def settings(self) -> dict[str, Any]:
        """Return what else decides the values of the items, in JSON: also the size and the meaning of the labels."""
        return {**super().settings(), "native_labels": self.native_labels, "classes": len(self.classes)}

    def bytes_of(self, index: int) -> int:
        """Return the size of a decoded item in bytes, with its labels."""
        size = self.image_size(index)
        return 3 * math.prod(self._scaled_size(size)) + math.prod(
            size if self.native_labels else self._scaled_size(size)
        )

    def _sample(self, index: int) -> Sample:
        pixels, values = self.read(index)
        image, labels = self._scaled(pixels), tv_tensors.Mask(torch.from_numpy(values))
        if not self.native_labels and image.shape[1:] != labels.shape:
            labels = resized_labels(labels, image.shape[1:])
        return image, labels


class ClassificationDataset(ImageDataset):
    """Item ``i`` is an image, uint8 (3, H, W), and its class index, int64 (); batched labels are (N,)."""

    task = "classification"
    ignore_index = -1  # never occurs; 255 is a class of ImageNet

    @abstractmethod
    def read_image(self, index: int) -> Array:
        """Return the image, uint8 (H, W, 3)."""

    @abstractmethod
    def label(self, index: int) -> int:
        """Return the class index without reading the image."""

    def settings(self) -> dict[str, Any]:
        """Return what else decides the values of the items, in JSON: also the names of the classes."""
        return {**super().settings(), "classes": list(self.classes.names)}

    def image_size(self, index: int) -> tuple[int, int]:
        """Return the height and width of an image before scaling."""
        height, width = self.read_image(index).shape[:2]
        return height, width

    def _sample(self, index: int) -> Sample:
        return self._scaled(self.read_image(index)), torch.tensor(self.label(index))
