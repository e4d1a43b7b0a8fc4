"""Imports of ``package.module:callable``, limited to callables that can build a network or a loss."""

import inspect
import sys
from importlib import import_module
from typing import Any

from torch import nn

from segdistill.errors import UserError, unknown


def import_callable(path: str, kind: str) -> Any:
    """Return a subclass of ``nn.Module``, or a function that is neither of the standard library nor of PyTorch.

    A recipe may run code, but a mistake in it must not run a command such as ``os:system`` or ``torch.hub:load``.

    Args:
        path: ``package.module:callable``.
        kind: The name of the object in errors, for instance ``"loss"``.

    Raises:
        UserError: The object cannot be imported, or is of another type.
    """
    module_name, _, attribute = path.partition(":")
    _refuse_library(module_name, path, kind)
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise UserError(f"cannot import {kind} '{path}': {error}; is its folder on PYTHONPATH?") from error
    try:
        target = getattr(module, attribute)
    except AttributeError:
        choices = [known for known, value in vars(module).items() if callable(value)]
        raise unknown(f"callable in {module_name}", attribute, choices) from None
    if inspect.isclass(target) and issubclass(target, nn.Module):
        return target
    if not inspect.isfunction(target):
        raise UserError(
            f"{kind} '{path}' is neither a function nor a class derived from torch.nn.Module; write a function that "
            "returns one"
        )
    _refuse_library(target.__module__, path, kind)
    if target.__module__.partition(".")[0] == "torch":
        raise UserError(f"{kind} '{path}' is a function of PyTorch and builds no {kind}; write a function that does")
    return target


def _refuse_library(module: str, path: str, kind: str) -> None:
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise UserError(f"{kind} '{path}' is in Python's standard library, which has no {kind}; name your own function")
