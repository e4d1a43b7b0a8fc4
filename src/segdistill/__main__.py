"""``python -m segdistill`` is the command ``segdistill``."""

from segdistill.cli import main

main()
