"""Datasets: image i with its labels, as uint8 tensors, 255 = void."""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache as remember
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from segdistill.data.classes import VOID, Classes
from segdistill.data.layouts import Layout, open_layout
from segdistill.data.reading import Array, image_size, read_image, read_mask, read_values
from segdistill.errors import UserError

Sample = tuple[tv_tensors.Image, tv_tensors.Mask]

_log = logging.getLogger(__name__)


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
        labels = read_mask(path, len(self.classes), void=self.layout.void, colours=self.layout.colours)
        if labels.shape != size:
            mask_size, own_size = (f"{width}x{height}" for height, width in (labels.shape, size))
            raise UserError(
                f"mask '{path}' is {mask_size} but its image '{self.path(index)}' is {own_size} "
                "(width x height, upright); a mask needs its image's size"
            )
        return labels


def open_dataset(
    name: str,
    root: str | Path | None = None,
    split: str = "train",
    *,
    scale: float | None = None,
    native_labels: bool = False,
    cache: bool = False,
) -> SegmentationDataset:
    """Open one split of a dataset; see :func:`~segdistill.data.layouts.open_layout` for names and layouts.

    A ``folder`` without classes.json has its classes counted in the masks of all splits, and logs what it
    found.

    Args:
        name: One of :data:`~segdistill.data.layouts.DATASETS`.
        root: The folder that holds it; None for ``scenes``.
        split: "train", "val" or "test".
        scale, native_labels, cache: See :class:`SegmentationDataset`.

    Raises:
        UserError: If the files are not as the layout says. Damaged files are found when they are read.
    """
    layout = open_layout(name, root)
    if name == "scenes":
        from segdistill.data.scenes import Scenes  # scenes.py builds on this file

        return Scenes(split, scale=scale, native_labels=native_labels, cache=cache)
    layout.split(split)  # a missing split is an error before any mask is read
    classes = layout.classes or _classes_in_masks(layout)
    return FileDataset(layout, split, classes, scale=scale, native_labels=native_labels, cache=cache)


@remember
def _classes_in_masks(layout: Layout) -> Classes:
    """Number the classes by the values that occur in the masks, which must be 0..n without a gap."""
    masks = [path for split in layout.splits for path in split.labels]
    with ThreadPoolExecutor(_threads()) as pool:
        values = set[int]().union(*pool.map(lambda path: np.unique(read_values(path)).tolist(), masks))
    found = sorted(values - {VOID})
    root = os.path.commonpath(masks)
    if found != list(range(max(2, len(found)))):
        shown = ", ".join(map(str, found[:12])) + (", ..." if len(found) > 12 else "")
        raise UserError(
            f"the masks under '{root}' hold the values {shown or 'none'} besides {VOID} (void); expected "
            "class indices 0, 1, ... without a gap: convert them, or name the classes in classes.json"
        )
    _log.warning("no classes.json: %d masks under '%s' hold classes 0..%d", len(masks), root, found[-1])
    return Classes(tuple(f"class {index}" for index in found))


@dataclass(frozen=True)
class LabelReport:
    """What a dataset's masks hold.

    Attributes:
        masks: How many were read without an error.
        pixels: Pixels per class.
        void: Pixels that are void.
        problems: One line for each mask that cannot be used.
    """

    masks: int
    pixels: tuple[int, ...]
    void: int
    problems: tuple[str, ...]

    def check(self) -> None:
        """Raise one UserError that shows the first problems and counts all of them, if there are any."""
        if self.problems:
            more = len(self.problems) - 3
            shown = "; ".join(self.problems[:3]) + (f"; and {more} more" if more > 0 else "")
            total = self.masks + len(self.problems)
            raise UserError(f"{len(self.problems)} of {total} masks cannot be used: {shown}")


def scan_labels(dataset: SegmentationDataset, indices: Iterable[int] | None = None) -> LabelReport:
    """Read masks, of ``indices`` or all, check their values and sizes and count the pixels of each class.

    Images are not decoded. Problems are collected, not raised: call :meth:`LabelReport.check`.
    """

    def count(index: int) -> NDArray[np.int64] | str:
        try:
            return np.bincount(dataset.read_labels(index).ravel(), minlength=VOID + 1)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(_threads()) as pool:
        results = list(pool.map(count, range(len(dataset)) if indices is None else indices))
    counts = [result for result in results if not isinstance(result, str)]
    totals = np.zeros(VOID + 1, dtype=np.int64)
    for counted in counts:
        totals += counted
    return LabelReport(
        masks=len(counts),
        pixels=tuple(totals[: len(dataset.classes)].tolist()),
        void=int(totals[VOID]),
        problems=tuple(result for result in results if isinstance(result, str)),
    )


def _threads() -> int:
    return min(8, os.cpu_count() or 1)
