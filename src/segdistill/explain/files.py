"""Files of figures: a mark in each PNG, by which a later call finds and removes those that it does not replace."""

import re
from collections.abc import Collection
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

KEY, WRITER = "Software", "segdistill explain"

NAME = re.compile(r"(grad_cam|class_distributions|gskd)_\d+_.+\.png|(class_similarities|feature_map)\.png")


def mark() -> PngInfo:
    """Return the entry of a PNG that names its writer."""
    info = PngInfo()
    info.add_text(KEY, WRITER)
    return info


def remove_others(folder: Path, kept: Collection[Path]) -> None:
    """Remove the figures of earlier calls: of other images, or of another feature. Files of the user stay."""
    for file in folder.iterdir():
        if file not in kept and NAME.fullmatch(file.name) and _is_marked(file):
            file.unlink()


def _is_marked(file: Path) -> bool:
    try:
        with Image.open(file) as picture:
            return picture.info.get(KEY) == WRITER
    except OSError:  # not a file, or not a picture
        return False
