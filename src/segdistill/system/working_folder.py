"""Modules of the working folder can be named in a recipe, and never take the place of installed ones."""

import os
import sys


def search_last() -> None:
    """Put the working folder at the end of the module path; ``python -m`` and ``python -c`` put it first."""
    # No pathlib: what it imports could still be found in the working folder.
    here = os.getcwd()  # noqa: PTH109
    sys.path[:] = [*(entry for entry in sys.path if entry and os.path.abspath(entry) != here), here]  # noqa: PTH100
