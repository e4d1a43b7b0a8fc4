"""The command ``python -m segdistill``, which is the same as ``segdistill``."""

from segdistill.system.working_folder import search_last

search_last()  # before any import that a file in the working folder could shadow

from segdistill.cli import main  # noqa: E402

main()
