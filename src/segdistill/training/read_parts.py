"""Reading of a step's images before the step begins."""

from collections.abc import Callable
from typing import Any

from lightning_fabric import Fabric

from segdistill.errors import UserError
from segdistill.training.interrupt import on_any


def read_parts(fabric: Fabric, read: Callable[[], list[Any]]) -> list[Any] | Exception:
    """Return the parts of a step, or the error that occurred. If reading fails on one process, all return an error."""
    try:
        parts: list[Any] | Exception = read()
    except Exception as error:  # a damaged or missing file, a worker that was killed
        parts = error
    failed = isinstance(parts, Exception)
    if on_any(fabric, failed) and not failed:
        return UserError("another process could not read its images")
    return parts
