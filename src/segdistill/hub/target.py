"""The check of the folder to write. This module does not import PyTorch."""

from pathlib import Path

from segdistill.errors import UserError


def check_target(folder: Path) -> None:
    """Raise unless a folder does not exist or is empty, so that nothing old in it is published.

    Raises:
        UserError: The folder has content, or is a file.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder} is not empty; delete it, or give another folder with --out")
