"""Command line ``segdistill``."""

import sys


def main() -> None:
    """Run the command line. If a package is missing, print how to install it and exit with status 2."""
    try:
        from segdistill.cli.app import main as run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "segdistill":
            raise
        print(f'error: the command needs the package {error.name}; pip install "segdistill[all]"', file=sys.stderr)
        sys.exit(2)
    run()
