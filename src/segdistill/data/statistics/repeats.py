"""Images that occur in two splits."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from segdistill.data.datasets.base import ImageDataset
from segdistill.system.progress import tracked


def repeated_images(train: ImageDataset, other: ImageDataset, indices: Iterable[int]) -> list[str]:
    """Return the names of images in ``other`` whose files equal a file of the training set, byte for byte.

    Only files of equal size are read.

    Args:
        train: The training set.
        other: Another split.
        indices: Indices of the images of ``other`` to check.
    """
    by_size: defaultdict[int, list[Path]] = defaultdict(list)
    for path in map(train.path, range(len(train))):
        if path is not None:
            by_size[path.stat().st_size].append(path)
    known: dict[int, set[bytes]] = {}
    repeated = []
    chosen = list(indices)
    for index in tracked(chosen, "looking for repeated images", len(chosen)):
        path = other.path(index)
        if path is None or not by_size.get(size := path.stat().st_size):
            continue
        if size not in known:
            known[size] = {_digest(each) for each in by_size[size]}
        if _digest(path) in known[size]:
            repeated.append(other.name(index))
    return repeated


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
