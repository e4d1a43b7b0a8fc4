"""Files in a folder and its subfolders, linked ones included."""

import os
from collections.abc import Iterator
from pathlib import Path

from segdistill.errors import UserError


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders, in no order.

    Links to folders are followed, except those that lead back to a folder that contains them. Links to missing files
    are yielded too, so that reading them gives an error. A missing folder has no files.

    Raises:
        UserError: If a folder cannot be read.
    """
    if folder.is_dir():
        yield from _files(folder, (folder.resolve(),))


def _files(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the files below a folder; ``above`` are the real paths of the folders that led to it and of itself."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError as error:
        raise UserError(f"cannot read folder '{folder}': {error.strerror}; allow it, or move the folder") from error
    for entry in found:
        path = folder / entry.name
        if entry.is_dir():
            real = path.resolve() if entry.is_symlink() else above[-1] / entry.name
            if not any(each.is_relative_to(real) for each in above):
                yield from _files(path, (*above, real))
        elif entry.is_file() or entry.is_symlink():
            yield path
