"""Checkpoints: written atomically, loaded with ``weights_only=True``."""

from pathlib import Path
from typing import Any

import torch

from segdistill.atomic import replacing
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


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this program.

    Raises:
        UserError: The file is no such checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a file that is not a checkpoint
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is not a checkpoint of a run: {reason[:120]}; delete it to start anew") from None
    if not isinstance(state, dict) or "step" not in state:
        raise UserError(f"{path} is not a checkpoint of a run: it has no 'step'; delete it to start anew")
    return state
