"""Reading the images of a step before anything of it is done."""

from collections.abc import Callable
from typing import Any

from lightning_fabric import Fabric

from segdistill.errors import UserError
from segdistill.training.interrupt import on_any


def read_parts(fabric: Fabric, read: Callable[[], list[Any]]) -> list[Any] | Exception:
    """Return the parts of a step; what was wrong with a file, on every process if it was so on one."""
    try:
        parts: list[Any] | Exception = read()
    except Exception as error:  # a file that is damaged or gone, a worker that was killed
        parts = error
    failed = isinstance(parts, Exception)
    if on_any(fabric, failed) and not failed:
        return UserError("another process could not read its images")
    return parts
