"""Where everything is printed."""

import sys

from rich.console import Console

from segdistill.processes import is_first_process

# Into a file or pipe, tables keep their columns instead of being cut to 80 characters.
# Of several processes only the first one speaks.
console = Console(
    width=None if sys.stdout.isatty() else 200,
    quiet=not is_first_process(),
    highlight=False,
    markup=False,  # a class may be called "road [wet]"
)
