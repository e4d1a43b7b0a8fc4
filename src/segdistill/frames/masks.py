"""Index masks: PNGs whose values are class indices and whose palette has the classes' colors."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from segdistill.data import Classes
from segdistill.errors import UserError
from segdistill.reports.drawing import Labels
from segdistill.system.atomic import unwritable


def mask_picture(labels: Labels, classes: Classes) -> Image.Image:
    """Return labels of shape (H, W) as a picture with a palette."""
    marked = Image.fromarray(labels, mode="P")
    marked.putpalette([value for color in classes.palette for value in color])
    return marked


class MaskFolder:
    """Folder of the masks of a video's frames: ``000000.png``, ``000001.png`` and so on.

    Numbered PNGs are read by every tool, and are masks to train on. A lossless video would be one file, but readers
    convert its values to colors unless they are told not to.

    Args:
        folder: The folder that is being written.
        classes: The classes.
    """

    def __init__(self, folder: Path, classes: Classes) -> None:
        self._folder, self._classes = folder, classes

    def write(self, number: int, labels: Labels) -> None:
        """Write the mask of a frame.

        Raises:
            UserError: The disk is full, or the folder cannot be written to.
        """
        file = self._folder / f"{number:06}.png"
        try:
            mask_picture(labels, self._classes).save(file, format="PNG")
        except OSError as error:
            raise unwritable(file, error) from error


@contextmanager
def replacing_masks(folder: Path, classes: Classes) -> Iterator[MaskFolder]:
    """Open a temporary folder of masks that replaces ``folder`` at the end. After an error, ``folder`` is as before.

    Raises:
        UserError: ``folder`` has other files than masks, or cannot be written to.
    """
    check_masks_only(folder)
    unfinished = folder.with_name(folder.name + ".tmp")
    check_masks_only(unfinished)
    try:
        _remove(unfinished)  # left by a killed process
        unfinished.mkdir(parents=True)
        try:
            yield MaskFolder(unfinished, classes)
            _remove(folder)
            unfinished.replace(folder)
        except BaseException:
            _remove(unfinished)
            raise
    except OSError as error:
        raise unwritable(folder, error) from error


def check_masks_only(folder: Path) -> None:
    """Raise if there is something in place of a folder that is replaced, other than masks of a video.

    Raises:
        UserError: The folder is a file or a link, or has other files.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"{folder} is no folder; remove it, or give another --out")
    for file in folder.iterdir() if folder.exists() else ():
        if not re.fullmatch(r"\d{6,}\.png", file.name):
            raise UserError(f"{folder} would be replaced, but has other files: {file.name}; give another --out")


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
