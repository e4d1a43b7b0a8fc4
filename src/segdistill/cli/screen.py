"""Where everything is printed."""

import sys

from rich.console import Console

# Into a file or pipe, tables keep their columns instead of being cut to 80 characters.
console = Console(width=None if sys.stdout.isatty() else 200)
