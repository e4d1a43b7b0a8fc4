"""Checkpoints, written atomically and loaded with ``weights_only=True``."""

from pathlib import Path
from typing import Any

import torch

from segdistill.errors import UserError
from segdistill.system.atomic import replacing


def save(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` so that ``path`` always holds a complete checkpoint, the old or the new one."""
    with replacing(path) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # a full disk; closing the archive then failed too
                raise error.__context__ from None
            raise


def load(path: Path, *, peek: bool = False) -> dict[str, Any]:
    """Return the content of a run's checkpoint.

    Args:
        path: The file.
        peek: If True, read the tensors from disk only when they are used.

    Raises:
        UserError: The file is not a checkpoint of a run.
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
        f"{path} is not a checkpoint of a run: {reason}; delete it and run the same command again, which repeats the "
        "lost steps"
    )
