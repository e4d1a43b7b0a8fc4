"""The processes that share a run: the rank of this one, and the end of those that it started. Without PyTorch."""

import os
import subprocess
from collections.abc import Iterable

_started: list["subprocess.Popen[bytes]"] = []


def is_first_process() -> bool:
    """Return True in the process that prints and writes: the only one, or rank 0 on the first machine."""
    if not are_several():
        return True
    rank = os.environ.get("RANK") or os.environ.get("LOCAL_RANK", "0")
    return rank == "0" and os.environ.get("NODE_RANK", "0") == "0"


def are_several() -> bool:
    """Return True if several processes share the run."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def note_started(children: Iterable["subprocess.Popen[bytes]"]) -> None:
    """Remember processes that this one has started for the run."""
    _started.extend(children)


def end_started(patience: float = 10.0) -> None:
    """End the processes that this one has started. After its error they would wait for it, and hold a GPU each.

    Args:
        patience: The seconds after which a process that does not end is killed.
    """
    for child in _started:
        child.terminate()
    for child in _started:
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    _started.clear()
