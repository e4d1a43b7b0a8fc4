"""Data sets in tables of the Hugging Face library ``datasets``. Tables are memory-mapped; nothing is downloaded."""

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

from segdistill.data.caches import Cache
from segdistill.data.classes import Classes
from segdistill.data.datasets.base import ClassificationDataset, SegmentationDataset
from segdistill.data.decoded.file import Origin
from segdistill.data.decoded.origins import meaning_of_masks, origin_of
from segdistill.data.decoding.images import Array, InMemory, Source, image_size, read_image
from segdistill.data.decoding.masks import check_size, read_labels
from segdistill.data.decoding.notes import note
from segdistill.data.layouts import Layout
from segdistill.data.layouts.hf import INSTALL, find_columns
from segdistill.errors import UserError


class SavedTable:
    """The items of one split, with images and masks still encoded.

    Args:
        layout: A layout of the data set ``hf``.
        split: The name of one of its splits.

    Raises:
        UserError: If the library is not installed, or a file is damaged.
    """

    def __init__(self, layout: Layout, split: str) -> None:
        try:
            import datasets
        except ImportError as error:
            raise UserError(f"dataset 'hf' {INSTALL}") from error
        self.split = split
        files = layout.split(split).tables
        self.files = files
        self.where = files[0].parent if files[0].is_dir() else files[0]
        try:
            if files[0].is_dir():
                table = datasets.load_from_disk(str(files[0]))
            else:  # the library converts parquet files to Arrow, in its cache
                table = datasets.Dataset.from_parquet([str(file) for file in files])
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"cannot read the split '{split}' in '{self.where}': {str(error).splitlines()[0]}"
            ) from error
        self.columns = find_columns(table.features.to_dict(), self.where)
        table = table.select_columns([self.columns.image, self.columns.label])
        for column in (self.columns.image, self.columns.label)[: 2 if self.columns.classes is None else 1]:
            table = table.cast_column(column, datasets.Image(decode=False))
        self._rows: Any = table

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, index: int) -> str:
        """Return for instance "train_00007"."""
        return f"{self.split}_{index:05d}"

    def image(self, index: int) -> Source:
        """Return an encoded image."""
        return self._source(index, self.columns.image)

    def mask(self, index: int) -> Source:
        """Return an encoded mask."""
        return self._source(index, self.columns.label)

    def class_indices(self) -> list[int]:
        """Return the class of every item."""
        return list(self._rows[self.columns.label][:])

    def origins(self) -> list[Origin]:
        """Return what identifies each row: its number, the table's files, and the files that the row names."""
        files = sorted(file for path in self.files for file in (path.rglob("*") if path.is_dir() else [path]))
        base = str(self.where.parent)
        table = [origin_of(file, base) for file in files if file.is_file()]
        digest = hashlib.sha256(json.dumps(table).encode()).hexdigest()
        columns = (self.columns.image, *((self.columns.label,) if self.columns.classes is None else ()))
        named = [self._named_files(column) for column in columns]
        return [
            [index, digest, *(origin_of(Path(path), base) for path in paths if path)]
            for index, paths in enumerate(zip(*named, strict=True))
        ]

    def _named_files(self, column: str) -> list[str | None]:
        """Return the file of each cell that holds no bytes."""
        import pyarrow.compute as compute

        cells = self._rows.with_format("arrow")[column]
        cells = cells if hasattr(cells, "chunks") else cells[:]
        empty = compute.fill_null(compute.equal(compute.binary_length(compute.struct_field(cells, "bytes")), 0), True)
        paths = compute.struct_field(cells, "path")
        return [path if is_empty else None for path, is_empty in zip(paths.to_pylist(), empty.to_pylist(), strict=True)]

    def _source(self, index: int, column: str) -> Source:
        cell = self._rows[index][column] or {}
        if cell.get("path") and not cell.get("bytes"):
            return Path(cell["path"])
        name = f"row {index}, column {column} of split {self.split} in {self.where}"
        return InMemory(cell.get("bytes") or b"", name)


class _Rows:
    """Mixin for items that are the rows of a table."""

    table: SavedTable

    def __len__(self) -> int:
        return len(self.table)

    def name(self, index: int) -> str:
        """Return for instance "train_00007"."""
        return self.table.name(index)

    def path(self, index: int) -> Path | None:
        """Return None, because the image is not a separate file."""
        return None

    def source(self, index: int) -> Source:
        """Return the encoded image."""
        return self.table.image(index)

    def image_size(self, index: int) -> tuple[int, int]:
        """Return the height and width of an image before scaling, from its header."""
        return image_size(self.table.image(index))

    def origins(self) -> list[Origin]:
        """Return the row of each item, with the table's files and the files that the row names."""
        return self.table.origins()


class TableMasks(_Rows, SegmentationDataset):
    """Images and masks of a table."""

    def __init__(
        self,
        table: SavedTable,
        layout: Layout,
        classes: Classes,
        *,
        scale: float | None = None,
        native_labels: bool = False,
        cache: Cache = False,
    ) -> None:
        super().__init__(classes, scale=scale, native_labels=native_labels, cache=cache)
        self.table = table
        self.layout = layout
        self._note = partial(note, layout.place)

    def settings(self) -> dict[str, Any]:
        """Return what else decides the values of the items, in JSON: also how the layout reads masks."""
        return {**super().settings(), "masks": meaning_of_masks(self.layout)}

    def read(self, index: int) -> tuple[Array, Array]:
        """Decode the image and its mask."""
        image = read_image(self.table.image(index))
        return image, self._read_labels(index, image.shape[:2])

    def read_labels(self, index: int) -> Array:
        """Decode the mask, and only the header of the image."""
        return self._read_labels(index, image_size(self.table.image(index)))

    def _read_labels(self, index: int, size: tuple[int, ...]) -> Array:
        mask = self.table.mask(index)
        labels = read_labels(mask, len(self.classes), self.layout, self._note)
        check_size(labels, size, mask, self.table.image(index))
        return labels


class TableClasses(_Rows, ClassificationDataset):
    """Images and class indices of a table."""

    def __init__(
        self, table: SavedTable, classes: Classes, *, scale: float | None = None, cache: Cache = False
    ) -> None:
        super().__init__(classes, scale=scale, cache=cache)
        self.table = table
        self._labels = table.class_indices()
        if bad := {label for label in self._labels if label is None or not 0 <= label < len(classes)}:
            raise UserError(
                f"split '{table.split}' of '{table.where}' has labels {sorted(map(str, bad))[:4]}; "
                f"expected 0..{len(classes) - 1} (-1 means that a split comes without labels)"
            )

    def read_image(self, index: int) -> Array:
        """Decode the image."""
        return read_image(self.table.image(index))

    def label(self, index: int) -> int:
        """Return the class index."""
        return self._labels[index]
