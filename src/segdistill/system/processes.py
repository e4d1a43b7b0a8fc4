"""Which of several processes this is, before PyTorch is there to ask."""

import os


def is_first_process() -> bool:
    """Return True for the one process that prints and writes: the only one, or rank 0 of the first machine."""
    if not are_several():
        return True
    rank = os.environ.get("RANK") or os.environ.get("LOCAL_RANK", "0")
    return rank == "0" and os.environ.get("NODE_RANK", "0") == "0"


def are_several() -> bool:
    """Return True where a run is shared by several processes."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1
