"""Compute with as many threads as there are idle cores, for the length of a job."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from segdistill.system import threads


@contextmanager
def idle_threads(console: Console | None = None) -> Iterator[None]:
    """Choose the number of threads, import PyTorch, and set the old number again at the end.

    Args:
        console: Where to print the number; None prints nothing.
    """
    chosen = threads.choose()  # before the import, whose own work is no other process's load
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(chosen.count)
    if console is not None:
        console.print(f"computing with {chosen}", soft_wrap=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="lightning_fabric")
        try:
            yield
        finally:
            torch.set_num_threads(before)
