"""The command line: argument parsing only. Nothing is imported before it is needed."""

from segdistill.cli.app import main

__all__ = ["main"]
