"""What a data set on disk is: its splits, its classes and how to read its masks; and what there is to know about it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from segdistill.data.classes import VOID, Classes, Color
from segdistill.errors import unknown

Task = Literal["segmentation", "classification"]
"""What the labels are: a class for every pixel, or one for the image."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """The files of one split, in the order of their names.

    Attributes:
        name: "train", "val" or "test".
        images: Empty where there are no image files: generated data, tables.
        labels: ``labels[i]`` is the mask of ``images[i]``; empty for classification.
        source: What was chosen where a release offers a choice, for instance of lists.
        tables: The files or folders that hold images and labels together.
    """

    name: str
    images: tuple[Path, ...] = ()
    labels: tuple[Path, ...] = ()
    source: str = ""
    tables: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Layout:
    """The files of a dataset and how to read its masks.

    Attributes:
        name: The dataset's name, one of :data:`~segdistill.data.layouts.DATASETS`.
        classes: None where only the data itself can tell (``folder`` without a classes.json, some of ``hf``).
        splits: Those that are there.
        task: What the labels are.
        void: The value in the mask files that means void, besides 255.
        values: Where the values in the mask files are not class indices: the class of each value, 255 = void.
        colors: Where masks may be colors: the color of each class, and of void if there is one more.
        has_own_palette: Indexed masks come with these colors at the classes' indices; others were converted.
        gray_is_color: Gray values are colors, too, as in masks of 0 and 255.
        has_given_void: The data set itself says what ``void`` is, in its classes.json.
    """

    name: str
    classes: Classes | None
    splits: tuple[Split, ...] = ()
    task: Task = "segmentation"
    void: int = VOID
    values: tuple[int, ...] | None = None
    colors: tuple[Color, ...] | None = None
    has_own_palette: bool = False
    gray_is_color: bool = False
    has_given_void: bool = False

    def void_is_given_as(self, value: int) -> bool:
        """Tell whether the data set itself says that this value is void."""
        return self.has_given_void and self.void == value

    @cached_property
    def place(self) -> str:
        """The folder or file below which all masks lie, for messages."""
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
    """What there is to know about a dataset before it is on this machine.

    Attributes:
        name: Its name in ``data.name``.
        about: What it is, in a line.
        source: Where it is to be had; nothing is ever downloaded.
        terms: Under which terms, in short; those of the source count.
        layout: What must lie in its folder, as lines; empty for generated data.
        open: Finds its files in a folder, without reading any image; raises a UserError if it is laid out otherwise.
        task: What its labels are; None where each folder tells.
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
        """True where there are no files."""
        return not self.layout
