"""Lack of memory, told in one line with what helps."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from segdistill.errors import UserError, first_line

_TRIED = re.compile(r".*?[Tt]ried to allocate [\d.]+ \w+")


def lacks_memory(error: Exception) -> bool:
    """Return whether PyTorch found no memory for a tensor, on a GPU or on the CPU. This module does not import it."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return "OutOfMemoryError" in names or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))


def short_of_memory(what: str, error: Exception, remedy: str) -> UserError:
    """Return the error of one line: what needed the memory, how much more it asked for, and the remedy."""
    line = first_line(error)
    tried = _TRIED.match(line)
    return UserError(f"{what} needs more memory than there is ({tried[0] if tried else line.rstrip('.')}); {remedy}")


@contextmanager
def enough_memory(what: str, remedy: str) -> Iterator[None]:
    """Turn a lack of memory into a UserError.

    Args:
        what: What needs the memory, as in ``a step``.
        remedy: What the user can do.
    """
    try:
        yield
    except RuntimeError as error:
        if lacks_memory(error):
            raise short_of_memory(what, error, remedy) from error
        raise
