"""The hub folder of a run: network, exported files and model card, written at once."""

import shutil
import tempfile
from pathlib import Path

from segdistill import models
from segdistill.evaluation.finite import check_loaded
from segdistill.hub.card import card
from segdistill.hub.facts import Facts
from segdistill.hub.layouts import layout_of
from segdistill.hub.networks import needed_multiple, write_network
from segdistill.system.atomic import unwritable, write_text

OURS = ("student.safetensors", "student.json")


def write_folder(facts: Facts, license: str, folder: Path) -> None:
    """Write the folder. After an error it does not exist.

    Args:
        facts: The facts of the run.
        license: The identifier of the license.
        folder: The folder; it is missing or empty.

    Raises:
        UserError: The student cannot be loaded, or the folder cannot be written.
    """
    description = models.read_description(facts.folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            unfinished = Path(temporary) / "folder"
            unfinished.mkdir()
            network = None
            if layout_of(description["model"]) != "segdistill":
                network = models.load(facts.folder)
                check_loaded(network, f"{facts.folder}: the student's")
            multiple = 1 if network is None else needed_multiple(network)
            # The card comes first: where there is none, smp writes one with a license that nobody chose.
            write_text(unfinished / "README.md", card(facts, description, license, multiple))
            if network is None:
                _copy(facts.folder, OURS, unfinished)
            else:
                write_network(network, description, unfinished)
            _copy(facts.folder, facts.exported, unfinished)
            if folder.is_dir():
                folder.rmdir()
            unfinished.replace(folder)
    except OSError as error:
        raise unwritable(folder, error) from error


def _copy(source: Path, names: tuple[str, ...], target: Path) -> None:
    for name in names:
        shutil.copyfile(source / name, target / name)
