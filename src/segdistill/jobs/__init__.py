"""Whole jobs, for Python and for the command line: the same checks, the same code, the same files."""
