"""What ``package.module:callable`` names: only what builds a network or a loss is ever called."""

import inspect
import sys
from importlib import import_module
from typing import Any

from torch import nn

from segdistill.errors import UserError, unknown


def import_callable(path: str, kind: str) -> Any:
    """Import a class of modules, or a function, of a package that is not the standard library.

    A recipe is code, but one that is no more than a slip must not run a command: ``os:system``, ``torch.hub:load``.

    Args:
        path: ``package.module:callable``.
        kind: What an error calls it.

    Raises:
        UserError: It cannot be imported, or is anything else.
    """
    module_name, _, attribute = path.partition(":")
    _refuse_library(module_name, path, kind)
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise UserError(f"cannot import {kind} '{path}': {error}; is its folder on PYTHONPATH?") from error
    try:
        found = getattr(module, attribute)
    except AttributeError:
        choices = [known for known, value in vars(module).items() if callable(value)]
        raise unknown(f"callable in {module_name}", attribute, choices) from None
    if inspect.isclass(found) and issubclass(found, nn.Module):
        return found
    if not inspect.isfunction(found):
        raise UserError(
            f"{kind} '{path}' is neither a function nor a class derived from torch.nn.Module; write a function that "
            "returns one"
        )
    _refuse_library(found.__module__, path, kind)
    if found.__module__.partition(".")[0] == "torch":
        raise UserError(f"{kind} '{path}' is a function of PyTorch that builds none; write a function of your own")
    return found


def _refuse_library(module: str, path: str, kind: str) -> None:
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise UserError(f"{kind} '{path}' is of Python's standard library, which has none; name a function of your own")
