"""The first mask of a data set with some property, with which later ones are compared in this process."""

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from segdistill.data.decoding.sources import Source

_first: dict[str, dict[Hashable, "Example"]] = {}  # by the place of a data set, then by property


@dataclass(frozen=True)
class Example:
    """The first mask with a property.

    Attributes:
        name: The name of the mask.
        value: The value of the property.
        stamp: The file's size and modification time; None for a mask in a table.
    """

    name: str
    value: object
    stamp: tuple[int, int] | None

    def is_unchanged(self) -> bool:
        """Return True unless the mask was corrected or removed since it was read."""
        return self.stamp is None or self.stamp == _stamp(Path(self.name))


def first_mask(place: str, key: Hashable, mask: Source, value: object = None) -> Example:
    """Return the first mask that has a property, or this one, if there is none before. Thread-safe.

    Args:
        place: The data set.
        key: The property.
        mask: A mask that has it.
        value: The value of the property in this mask.
    """
    known = _first.setdefault(place, {})
    found = known.get(key) or known.setdefault(key, _example(mask, value))
    if found.value != value and not found.is_unchanged():
        found = known[key] = _example(mask, value)
    return found


def known_mask(place: str, key: Hashable) -> Example | None:
    """Return the first mask that has a property; None if there is none, or if it has changed since."""
    found = _first.get(place, {}).get(key)
    if found is not None and not found.is_unchanged():
        _first[place].pop(key, None)
        return None
    return found


def _example(mask: Source, value: object) -> Example:
    return Example(str(mask), value, _stamp(mask) if isinstance(mask, Path) else None)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns
