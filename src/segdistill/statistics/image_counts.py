"""Counts of each image of a split, from which the score of any resample of the images is computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ImageCounts:
    """Counts of one network on a split. For classification, each image counts as one pixel.

    Attributes:
        task: "segmentation" or "classification".
        classes: The names of the classes.
        counted: The classes that have IoU 0, and not none, where they are neither in the labels nor predicted.
        images: The names of the images, in the order of the data set.
        entries: Shape (E, 5): image, class, hits, label pixels and predicted pixels, sorted by image and class. An
            image has no entry for a class that is neither in its labels nor predicted. Void pixels do not count.
    """

    task: str
    classes: tuple[str, ...]
    counted: tuple[str, ...]
    images: tuple[str, ...]
    entries: Counts

    def record(self) -> dict[str, Any]:
        """Return the content of images.json. The row of an image is flat: class, hits, label and predicted pixels."""
        return {
            "task": self.task,
            "classes": list(self.classes),
            "counted": list(self.counted),
            "images": list(self.images),
            "counts": rows_of(self.entries, len(self.images), (2, 3, 4)),
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "ImageCounts":
        """Return the counts in a record.

        Raises:
            ValueError, KeyError, TypeError: The record is damaged.
        """
        images, classes = tuple(map(str, record["images"])), tuple(map(str, record["classes"]))
        rows = record["counts"]
        if len(rows) != len(images) or any(len(row) % 4 for row in rows):
            raise ValueError("rows and images differ")
        flat = np.array([number for row in rows for number in row], np.int64).reshape(-1, 4)
        image = np.repeat(np.arange(len(rows)), [len(row) // 4 for row in rows])
        if len(flat) and not (flat.min() >= 0 and flat[:, 0].max() < len(classes)):
            raise ValueError("a number is out of range")
        counted = tuple(map(str, record["counted"]))
        return cls(str(record["task"]), classes, counted, images, np.column_stack([image, flat]))


def entries_of_images(labels: NDArray[np.integer], predicted: NDArray[np.integer]) -> Counts:
    """Return the entries of classified images, from the class of each; a label below 0 does not count."""
    image = np.flatnonzero(labels >= 0)
    truth, found = labels[image], predicted[image]
    hits, ones = truth == found, np.ones_like(image)
    right = np.column_stack([image, truth, hits, ones, hits])
    wrong = np.column_stack([image, found, 0 * ones, 0 * ones, ones])[~hits]
    entries = np.concatenate([right, wrong]).astype(np.int64)
    return entries[np.lexsort((entries[:, 1], entries[:, 0]))]


def entries_of(table: NDArray[np.integer]) -> Counts:
    """Return the entries of a dense table, shape (images, classes, 3): hits, label pixels, predicted pixels."""
    image, index = np.nonzero(table.any(axis=2))
    return np.column_stack([image, index, table[image, index]]).astype(np.int64)


def rows_of(entries: Counts, images: int, columns: Sequence[int]) -> list[list[int]]:
    """Return for each image a flat row: the class, then these columns; without classes that are 0 in all of them."""
    kept = entries[entries[:, list(columns)].any(axis=1)]
    ends = np.searchsorted(kept[:, 0], np.arange(images + 1))
    picked = kept[:, [1, *columns]]
    return [picked[first:last].ravel().tolist() for first, last in pairwise(ends)]
