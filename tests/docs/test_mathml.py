"""Equations of the site: the TeX that our docstrings use, and TeX that cannot be converted."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from docutils.utils.math import MathError

from tests.docs.pages import DOCS

CONF = f"""
import sys
sys.path.insert(0, {str(DOCS)!r})
from extension import mathml
html_math_renderer = "mathml"
def setup(app):
    mathml.register(app)
"""


@pytest.fixture
def mathml(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("extension.mathml").mathml


def test_sizes_without_a_side(mathml) -> None:
    assert mathml(r"\big(a\big)", display=False) == mathml(r"\bigl(a\bigr)", display=False)
    assert mathml(r"\Big[a\Big]", display=True) == mathml(r"\Bigl[a\Bigr]", display=True)
    assert mathml(r"\big\Vert a", display=False) == mathml(r"\bigl\Vert a", display=False)


def test_a_bar_between_arguments_does_not_stretch(mathml) -> None:
    assert '<mo stretchy="false">‖</mo>' in mathml(r"a \Vert b", display=False)


def test_display(mathml) -> None:
    assert 'display="block"' in mathml("x", display=True)
    assert "display" not in mathml("x", display=False)


def test_an_equation_that_cannot_be_converted_names_its_page(mathml, tmp_path: Path) -> None:
    with pytest.raises(MathError, match="nosuch"):
        mathml(r"\nosuch", display=False)
    (tmp_path / "conf.py").write_text(CONF)
    (tmp_path / "index.rst").write_text("Title\n=====\n\n.. math:: \\nosuch\n")
    words = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode != 0
    assert "index.rst:4: WARNING: equation" in done.stderr
    assert "nosuch" in done.stderr
