"""A finished tiny run, exported in every format whose packages are installed, except ExecuTorch."""

import io
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from segdistill.cli import main
from segdistill.errors import UserError
from segdistill.export.formats import FORMATS, check_packages
from segdistill.jobs.export import export
from tests.tiny import TINY


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Call the command line; return its exit status."""
    monkeypatch.setattr(sys, "argv", ["segdistill", *arguments])
    try:
        main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def installed(name: str) -> bool:
    """Return whether a format can be written here."""
    try:
        check_packages([name])
        if name == "executorch":  # its extension module is built for some releases of PyTorch
            from executorch.extension.pybindings import _C  # noqa: F401
    except (UserError, ImportError):
        return False
    return True


# ExecuTorch takes half a minute for the smallest network, so it has a test of its own.
INSTALLED = tuple(name for name in FORMATS if name != "executorch" and installed(name))


def needs(name: str) -> None:
    """Skip a test of a format that cannot be written here."""
    if not installed(name):
        pytest.skip(f"format '{name}' is not installed")


class Exported(NamedTuple):
    folder: Path
    report: dict
    said: str


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The folder of a run of images at half of their size, with its files, its report and what was printed."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    words = (*TINY, "data.scale=0.5", "data.size=[64,90]", "train.learning_rate=0.3", "train.iterations=20")
    with pytest.MonkeyPatch.context() as patch:
        assert run(patch, "train", "quickstart", *words, "--run-dir", str(folder)) == 0
    console = Console(record=True, width=200, file=io.StringIO())
    report = export(folder, formats=",".join(INSTALLED), trust=True, console=console)
    return Exported(folder, report, console.export_text())
