"""Images of one split that are files of another, too."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from segdistill.data.datasets.base import ImageDataset


def repeated_images(train: ImageDataset, other: ImageDataset, indices: Iterable[int]) -> list[str]:
    """Return the names of a split's images whose files hold the same bytes as one of the training set.

    Only files of equal size are read.

    Args:
        train: The training set.
        other: The other split.
        indices: Which of its images to look at.
    """
    by_size: defaultdict[int, list[Path]] = defaultdict(list)
    for path in map(train.path, range(len(train))):
        if path is not None:
            by_size[path.stat().st_size].append(path)
    known: dict[int, set[bytes]] = {}
    found = []
    for index in indices:
        path = other.path(index)
        if path is None or not by_size.get(size := path.stat().st_size):
            continue
        if size not in known:
            known[size] = {_digest(each) for each in by_size[size]}
        if _digest(path) in known[size]:
            found.append(other.name(index))
    return found


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
