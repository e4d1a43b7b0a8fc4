"""Number of threads of a job: one for each idle core."""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console

from segdistill.system import threads
from segdistill.system.progress import listening
from segdistill.training.console import Watcher


@contextmanager
def idle_threads(console: Console | None = None, *, silent: bool = False) -> Iterator[None]:
    """Choose the number of threads and import PyTorch. At the end, restore the number that was set before.

    Args:
        console: The console to print the number, and the progress of long work, on; None prints nothing.
        silent: Whether not to print the number.
    """
    chosen = threads.choose()  # before the import of PyTorch, which would count as load
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(chosen.count)
    if console is not None and not silent:
        console.print(f"computing with {chosen}", soft_wrap=True)
    with shown_progress(console), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="lightning_fabric")
        try:
            yield
        finally:
            torch.set_num_threads(before)


def shown_progress(console: Console | None) -> AbstractContextManager[None]:
    """Print the progress of long work in this block; None prints nothing. This does not import PyTorch."""
    return listening(Watcher(console)) if console is not None and not console.quiet else nullcontext()
