"""Descriptions of the sources of decoded items, in JSON."""

import os
from pathlib import Path
from typing import Any

from segdistill.data.decoded.file import Origin
from segdistill.data.layouts import Layout
from segdistill.errors import UserError


def origin_of(file: Path, base: str) -> Origin:
    """Return a file's name below a folder, its size, and its modification time in nanoseconds.

    Raises:
        UserError: If the file does not exist or cannot be read.
    """
    try:
        found = file.stat()
    except OSError as error:
        raise UserError(f"cannot read '{file}': {error.strerror}; replace or remove it") from error
    return [os.path.relpath(file, base), found.st_size, found.st_mtime_ns]


def meaning_of_masks(layout: Layout) -> dict[str, Any]:
    """Return how a layout reads the values in masks."""
    return {
        "void": layout.void,
        "values": None if layout.values is None else list(layout.values),
        "colors": None if layout.colors is None else [list(color) for color in layout.colors],
        "gray_is_color": layout.gray_is_color,
    }
