"""The rank of this process among several, read from the environment without importing PyTorch."""

import os


def is_first_process() -> bool:
    """Return True in the process that prints and writes: the only one, or rank 0 on the first machine."""
    if not are_several():
        return True
    rank = os.environ.get("RANK") or os.environ.get("LOCAL_RANK", "0")
    return rank == "0" and os.environ.get("NODE_RANK", "0") == "0"


def are_several() -> bool:
    """Return True if several processes share the run."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1
