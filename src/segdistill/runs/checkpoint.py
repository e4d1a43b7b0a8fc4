"""Checkpoints: written atomically, loaded with ``weights_only=True``."""

from pathlib import Path
from typing import Any

import torch

from segdistill.system.atomic import replacing
from segdistill.errors import UserError


def save(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` so that ``path`` always holds a whole checkpoint, the old or the new one."""
    with replacing(path) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # a full disk, over which closing the archive complained
                raise error.__context__ from None
            raise


def load(path: Path, *, peek: bool = False) -> dict[str, Any]:
    """Read a checkpoint of this program.

    Args:
        path: The file.
        peek: Leave the tensors on the disk until they are looked at.

    Raises:
        UserError: The file is no such checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=peek)
    except Exception as error:  # torch.load raises many kinds for a file that is not a checkpoint
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _none(path, reason[:120]) from None
    if not isinstance(state, dict) or not isinstance(state.get("step"), int):
        raise _none(path, "it has no 'step'")
    return state


def _none(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path} is not a checkpoint of a run: {reason}; delete it and run the same command again, which does again "
        "what it held"
    )
