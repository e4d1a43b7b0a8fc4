"""``python -m segdistill`` is the command ``segdistill``."""

from segdistill.system.working_folder import search_last

search_last()  # before anything is imported that a file of the working folder could be named like

from segdistill.cli import main  # noqa: E402

main()
