"""The module path: recipes can name modules in the working folder, which never shadow installed ones."""

import os
import sys


def search_last() -> None:
    """Move the working folder to the end of the module path; ``python -m`` and ``python -c`` put it first."""
    # Without pathlib: the modules that it imports could still be taken from the working folder.
    here = os.getcwd()  # noqa: PTH109
    sys.path[:] = [*(entry for entry in sys.path if entry and os.path.abspath(entry) != here), here]  # noqa: PTH100
