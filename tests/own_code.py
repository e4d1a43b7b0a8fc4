"""A module of the user's own that a test writes and edits."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "code_of_a_test"
SOURCE = '''"""Own loss and networks."""

from torch import nn


def small(num_classes):  # the student
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=4, padding=1), nn.ReLU(), nn.Conv2d(6, num_classes, 1))


def large(num_classes):
    return nn.Sequential(nn.Conv2d(3, 9, 3, stride=4, padding=1), nn.ReLU(), nn.Conv2d(9, num_classes, 1))


def mine(student, teacher, labels=None):
    return (student - teacher).abs().mean()
'''


@contextmanager
def own_module(folder: Path) -> Iterator[Path]:
    """Write the module into a folder on the path, and yield its file. What was imported is forgotten at the end."""
    file = folder / f"{NAME}.py"
    file.write_text(SOURCE)
    sys.path.insert(0, str(folder))
    try:
        yield file
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(NAME, None)


def edit(file: Path, old: str = ".abs()", new: str = ".square()") -> None:
    """Replace the first occurrence of a text in the module, and forget what was imported, as a new process does."""
    source = file.read_text()
    assert old in source
    file.write_text(source.replace(old, new, 1))
    sys.modules.pop(NAME, None)
