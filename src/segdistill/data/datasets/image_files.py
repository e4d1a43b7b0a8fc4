"""Data sets whose images are files."""

import os
from functools import partial
from pathlib import Path
from typing import Any

from segdistill.data.caches import Cache
from segdistill.data.classes import Classes
from segdistill.data.datasets.base import ClassificationDataset, SegmentationDataset
from segdistill.data.decoded.file import Origin
from segdistill.data.decoded.origins import meaning_of_masks, origin_of
from segdistill.data.decoding.images import Array, image_size, read_image
from segdistill.data.decoding.masks import check_size, read_labels
from segdistill.data.decoding.notes import note
from segdistill.data.layouts import Layout, Split


class _Files:
    """Mixin for items whose images are the files of a split."""

    split: Split

    def __len__(self) -> int:
        return len(self.split.images)

    def name(self, index: int) -> str:
        """Return the stem of the image's file."""
        return self.split.images[index].stem

    def path(self, index: int) -> Path:
        """Return the image's file."""
        return self.split.images[index]

    def image_size(self, index: int) -> tuple[int, int]:
        """Return the height and width of an image before scaling, from its header."""
        return image_size(self.path(index))

    def origins(self) -> list[Origin]:
        """Return the files of each item: names, sizes and modification times."""
        columns = [files for files in (self.split.images, self.split.labels) if files]
        base = os.path.commonpath([file.parent for files in columns for file in files])
        return [[origin_of(file, base) for file in files] for files in zip(*columns, strict=True)]


class MaskFiles(_Files, SegmentationDataset):
    """The images and masks of one split of a layout on disk."""

    def __init__(
        self,
        layout: Layout,
        split: str,
        classes: Classes,
        *,
        scale: float | None = None,
        native_labels: bool = False,
        cache: Cache = False,
    ) -> None:
        super().__init__(classes, scale=scale, native_labels=native_labels, cache=cache)
        self.layout = layout
        self.split = layout.split(split)
        self._note = partial(note, layout.place)

    def settings(self) -> dict[str, Any]:
        """Return what else decides the values of the items, in JSON: also how the layout reads masks."""
        return {**super().settings(), "masks": meaning_of_masks(self.layout)}

    def read(self, index: int) -> tuple[Array, Array]:
        """Decode the image and its mask."""
        image = read_image(self.path(index))
        return image, self._read_labels(index, image.shape[:2])

    def read_labels(self, index: int) -> Array:
        """Decode the mask, and only the header of the image."""
        return self._read_labels(index, image_size(self.path(index)))

    def _read_labels(self, index: int, size: tuple[int, ...]) -> Array:
        path, layout = self.split.labels[index], self.layout
        labels = read_labels(path, len(self.classes), layout, self._note)
        check_size(labels, size, path, self.path(index))
        return labels


class ClassFolders(_Files, ClassificationDataset):
    """The images of one split of a layout with a folder for each class."""

    def __init__(
        self, layout: Layout, split: str, classes: Classes, *, scale: float | None = None, cache: Cache = False
    ) -> None:
        super().__init__(classes, scale=scale, cache=cache)
        self.split = layout.split(split)
        self._index = {name: index for index, name in enumerate(classes.names)}

    def read_image(self, index: int) -> Array:
        """Decode the image."""
        return read_image(self.path(index))

    def label(self, index: int) -> int:
        """Return the index of the image's folder among the class names."""
        return self._index[self.path(index).parent.name]
