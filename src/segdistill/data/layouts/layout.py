"""Layout of a data set on disk: its splits, its classes and how to read its masks. The card of a data set."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from segdistill.data.classes import VOID, Classes, Color
from segdistill.errors import unknown

Task = Literal["segmentation", "classification"]
"""The kind of labels: a class for every pixel, or one class for the image."""

SPLITS = ("train", "val", "test")

SPLIT_OF = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""The split that a name means, in lower case."""


@dataclass(frozen=True)
class Split:
    """The files of one split, sorted by name.

    Attributes:
        name: "train", "val" or "test".
        images: The image files; empty for generated data and for tables.
        labels: ``labels[i]`` is the mask of ``images[i]``; empty for classification.
        source: The alternative that was chosen if a release offers several, for instance several lists of images.
        tables: The files or folders of tables that hold images and labels together.
    """

    name: str
    images: tuple[Path, ...] = ()
    labels: tuple[Path, ...] = ()
    source: str = ""
    tables: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Layout:
    """The files of a data set and how to read its masks.

    Attributes:
        name: The name of the data set, one of :data:`~segdistill.data.layouts.DATASETS`.
        classes: The classes; None if they must be inferred from the masks (``folder`` and ``hf`` without a
            classes.json).
        splits: The splits that exist.
        task: The kind of labels.
        void: The value in the mask files that means void, in addition to 255.
        values: The class of each value in the mask files, 255 = void; None if the values are class indices.
        colors: The color of each class and optionally one more, of void, if masks may be in colors.
        gray_is_color: Gray values are read as colors too, as in masks of 0 and 255.
        has_given_void: The classes.json of the data set gives ``void``.
    """

    name: str
    classes: Classes | None
    splits: tuple[Split, ...] = ()
    task: Task = "segmentation"
    void: int = VOID
    values: tuple[int, ...] | None = None
    colors: tuple[Color, ...] | None = None
    gray_is_color: bool = False
    has_given_void: bool = False

    def void_is_given_as(self, value: int) -> bool:
        """Return True if the data set's classes.json declares this value as void."""
        return self.has_given_void and self.void == value

    @cached_property
    def place(self) -> str:
        """The folder or file that contains all masks, for messages."""
        return os.path.commonpath([path for split in self.splits for path in split.labels or split.tables])

    def split(self, name: str) -> Split:
        """Return the split of that name.

        Raises:
            UserError: If there is none.
        """
        for split in self.splits:
            if split.name == name:
                return split
        raise unknown("split", name, [split.name for split in self.splits], hint=f"in dataset '{self.name}'")


@dataclass(frozen=True)
class DatasetCard:
    """The card of a data set: what it is, where to get it, and which files it needs.

    Attributes:
        name: The name, for ``data.name``.
        about: A description, in one line.
        source: Where to get the data set; nothing is ever downloaded.
        terms: A summary of its terms of use; the terms of the source apply.
        layout: The files that its folder must have, one line each; empty for generated data.
        open: A function that returns the layout of a folder without reading any image, and raises a UserError if the
            folder has another layout.
        task: The kind of labels; None if it depends on the folder.
    """

    name: str
    about: str
    source: str
    terms: str
    layout: str
    open: Callable[[Path], Layout]
    task: Task | None = "segmentation"

    @property
    def generated(self) -> bool:
        """True for generated data, which has no files."""
        return not self.layout
