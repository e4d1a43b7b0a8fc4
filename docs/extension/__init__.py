"""Sphinx extension of this site: equations as MathML, and pages that are made from the program.

Each page of PAGES has a comment with its name, where the made text goes.
"""

from collections.abc import Callable

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from extension import mathml
from extension.commands import commands
from extension.loss_docstrings import loss_docstrings
from extension.schema import schema

PAGES: dict[str, Callable[[], str]] = {"api": loss_docstrings, "commands": commands, "schema": schema}


def _fill(app: Sphinx, page: str, source: list[str]) -> None:
    if page in PAGES:
        marker = f"<!-- {page} -->"
        if marker not in source[0]:
            raise ValueError(f"docs/{page}.md has no line {marker}, where its reference goes")
        source[0] = source[0].replace(marker, PAGES[page]())


def _read_again(app: Sphinx, environment: BuildEnvironment, added: set[str], *_: set[str]) -> set[str]:
    return set(PAGES)  # their files do not change when the program does


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the equations and the pages."""
    mathml.register(app)
    app.connect("source-read", _fill)
    app.connect("env-get-outdated", _read_again)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
