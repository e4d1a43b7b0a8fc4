"""A file of decoded items. Items are mapped, so a crop reads only its own pages.

The file holds the bytes of all items, then an index in JSON, then the index's length and checksum and a mark. It is
written front to back; a file that was cut off has no mark at its end.
"""

import json
import math
import mmap
import os
import struct
import weakref
import zlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from segdistill.data.decoding.images import Array
from segdistill.errors import UserError
from segdistill.system.atomic import replacing

Sample = tuple[tv_tensors.Image, Tensor]
Origin = list[Any]
"""What identifies the source of an item, in JSON: names, sizes and modification times of its files."""

_TAIL = struct.Struct("<QI12s")
_MARK = b"segdistill 1"


class DamagedError(ValueError):
    """The file, or an item in it, is not as it was written."""


@dataclass(frozen=True)
class Entry:
    """One item in the file.

    Attributes:
        origin: The source that it was decoded from.
        start: The position of its first byte.
        image: The shape of the image, (3, H, W).
        channels_last: Whether the image is stored as (H, W, 3).
        labels: The shape of the labels, (H, W), stored after the image; or the class of the image.
        checksum: The checksum of its bytes.
    """

    origin: Origin
    start: int
    image: list[int]
    channels_last: bool
    labels: list[int] | int
    checksum: int

    @property
    def size(self) -> int:
        """The number of its bytes."""
        return math.prod(self.image) + (math.prod(self.labels) if isinstance(self.labels, list) else 0)


class _Index(NamedTuple):
    settings: dict[str, Any]
    entries: list[Entry]
    checksum: int


class DecodedFile:
    """The items of one split. It can be sent to other processes, which map the same file.

    Args:
        path: The file.

    Attributes:
        settings: How the items were read.
        entries: The items, in the order of the data set.

    Raises:
        DamagedError: If the file is cut off or its index is damaged.
        FileNotFoundError: If there is no file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()

    def _open(self) -> None:
        self._descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)
        self.settings, self.entries, self._checksum = _read_index(self._descriptor)
        self._verified: set[int] = set()

    def __getstate__(self) -> tuple[Path, int]:
        return self.path, self._checksum

    def __setstate__(self, state: tuple[Path, int]) -> None:
        self.path, expected = state
        self._open()
        if self._checksum != expected:
            raise UserError(f"'{self.path}' was written again by another run; run the same command again")

    def sample(self, index: int) -> Sample:
        """Return an item, with the values and strides that decoding gave.

        Raises:
            UserError: If its bytes are damaged.
        """
        try:
            values = self.raw(index)
        except DamagedError as error:
            raise UserError(
                f"'{self.path}' is damaged ({error}); delete it, and run the same command again to write it"
            ) from None
        entry = self.entries[index]
        depth, height, width = entry.image
        pixels, labels = values[: math.prod(entry.image)], values[math.prod(entry.image) :]
        if entry.channels_last:
            image = torch.from_numpy(pixels.reshape(height, width, depth)).permute(2, 0, 1)
        else:
            image = torch.from_numpy(pixels.reshape(depth, height, width))
        if isinstance(entry.labels, int):
            return tv_tensors.Image(image), torch.tensor(entry.labels)
        return tv_tensors.Image(image), tv_tensors.Mask(torch.from_numpy(labels.reshape(entry.labels)))

    def raw(self, index: int) -> Array:
        """Return the bytes of an item. The checksum is compared when this process first reads the item.

        Raises:
            DamagedError: If the bytes are damaged.
        """
        entry = self.entries[index]
        before = entry.start % mmap.ALLOCATIONGRANULARITY
        try:
            # Changes stay in this process. A private map of the whole file would count as memory.
            mapped = mmap.mmap(
                self._descriptor, before + entry.size, access=mmap.ACCESS_COPY, offset=entry.start - before
            )
            values = np.frombuffer(mapped, np.uint8, entry.size, before)
        except OSError:  # more maps than a process may have
            values = np.frombuffer(bytearray(_read(self._descriptor, entry.start, entry.size)), np.uint8)
        except ValueError as error:  # shorter than when it was opened
            raise DamagedError(str(error)) from error
        if index not in self._verified:
            if zlib.crc32(values.data) != entry.checksum:
                raise DamagedError(f"the checksum of item {index} does not match")
            self._verified.add(index)
        return values


def write_decoded(path: Path, settings: dict[str, Any], items: Iterable[tuple[Origin, Sample]]) -> None:
    """Write items to a file, which appears under its name when it is complete.

    Raises:
        UserError: If the disk is full, or the folder cannot be written to.
    """
    entries, position = [], 0
    with replacing(path) as file:
        for origin, (image, labels) in items:
            channels_last = not image.is_contiguous() and image.permute(1, 2, 0).is_contiguous()
            pixels = (image.permute(1, 2, 0) if channels_last else image).contiguous().numpy()
            file.write(pixels.data)
            checksum = zlib.crc32(pixels.data)
            if labels.dim():
                values = labels.contiguous().numpy()
                file.write(values.data)
                checksum = zlib.crc32(values.data, checksum)
            marked: list[int] | int = list(labels.shape) if labels.dim() else int(labels)
            entries.append(Entry(origin, position, list(image.shape), channels_last, marked, checksum))
            position += entries[-1].size
        index = json.dumps({"settings": settings, "items": [astuple(entry) for entry in entries]}).encode()
        file.write(index)
        file.write(_TAIL.pack(len(index), zlib.crc32(index), _MARK))


def _read_index(descriptor: int) -> _Index:
    size = os.fstat(descriptor).st_size
    if size < _TAIL.size:
        raise DamagedError("it is cut off")
    length, checksum, mark = _TAIL.unpack(_read(descriptor, size - _TAIL.size, _TAIL.size))
    if mark != _MARK or length > size - _TAIL.size:
        raise DamagedError("it is cut off")
    text = _read(descriptor, size - _TAIL.size - length, length)
    if zlib.crc32(text) != checksum:
        raise DamagedError("its index is damaged")
    index = json.loads(text)
    entries = [Entry(*fields) for fields in index["items"]]
    if sum(entry.size for entry in entries) + length + _TAIL.size != size:
        raise DamagedError("its size does not match its index")
    return _Index(index["settings"], entries, checksum)


def _read(descriptor: int, start: int, length: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(start)
        return file.read(length)
