"""Images of a run's data set at the size of their files, for checks, scores and calibration."""

import copy
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segdistill.data import Layout
from segdistill.data.decoding.images import Array
from segdistill.data.decoding.short_side import at_short_side
from segdistill.data.stream import Transform
from segdistill.data.transforms import ShortSide, classification_view
from segdistill.recipes import Recipe
from segdistill.training.session import Session


class LabeledImages:
    """Images of one split, evenly spaced, uint8 (H, W, 3), with their labels.

    The images are not scaled, because an exported program scales them. Images to classify are resized and cropped. With
    a short side, the images and their labels are resized to it, because an exported program takes them so.

    Args:
        recipe: The recipe of the run.
        layout: The files of its data set.
        split: The name of the split.
        count: The largest number of images.
        short_side: The short side of the student's images, of its ``student.json``; None for the size of the files.

    Attributes:
        split: The name of the split.
        total: The number of images in the split.
        classes: The classes of the labels.
        counted: The names of the classes that count as 0 if they are absent.
    """

    def __init__(self, recipe: Recipe, layout: Layout, split: str, count: int, short_side: int | None = None) -> None:
        scaled = recipe.data.model_copy(update={"scale": 1.0, "cache": False})
        self._dataset = Session(recipe.model_copy(update={"data": scaled}), layout).dataset(split)
        self.split = split
        self.total = len(self._dataset)
        self.indices = [int(index) for index in np.linspace(0, self.total - 1, min(count, self.total)).round()]
        self.classes = self._dataset.classes
        self.ignore_index = self._dataset.ignore_index
        self.classifies = self._dataset.task == "classification"
        named = [name for index, name in enumerate(self.classes.names) if index not in self.classes.void]
        self.counted = named if recipe.evaluation.absent == "zero" else []
        self._short_side = short_side
        self._view: Transform | None = None
        if self.classifies:
            view = classification_view(recipe.data.crop)
            self._view = lambda image, label: (view(image), label)
        elif short_side is not None:
            self._view = ShortSide(short_side, resize_labels=True)

    def first(self, count: int) -> "LabeledImages":
        """Return only the first images."""
        fewer = copy.copy(self)
        fewer.indices = self.indices[:count]
        return fewer

    @cached_property
    def largest(self) -> tuple[int, int]:
        """The greatest height and width of an image."""
        if self.classifies:
            return next(iter(self))[0].shape[:2]
        sizes = list(map(self._dataset.image_size, self.indices))
        if self._short_side is not None:
            sizes = [at_short_side(*size, self._short_side) for size in sizes]
        heights, widths = zip(*sizes, strict=True)
        return max(heights), max(widths)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[tuple[Array, NDArray[Any]]]:
        for index in self.indices:
            image, labels = self._dataset[index]
            if self._view is not None:
                image, labels = self._view(image, labels)
            pixels = torch.Tensor.as_subclass(image, torch.Tensor).permute(1, 2, 0)
            yield pixels.contiguous().numpy(), np.asarray(labels)

    @cached_property
    def labels(self) -> list[NDArray[Any]]:
        """The labels alone."""
        return [labels for _, labels in self]
