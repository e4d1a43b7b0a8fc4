"""Where everything is printed."""

import os
import sys

from rich.console import Console

# Into a file or pipe, tables keep their columns instead of being cut to 80 characters.
# Of several processes only the first one speaks.
console = Console(
    width=None if sys.stdout.isatty() else 200,
    quiet=os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) != "0",
)
