"""Every golden file is compared with, or a card gives the reason."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from segdistill.catalogue.cards import LOSS_CARDS
from tests.conftest import GOLDEN, HOW_TO_MAKE
from tests.losses.reference.make import CASES

TESTS = Path(__file__).parent


def names(source: str) -> Iterator[re.Pattern[str]]:
    """Yield the strings of Python source; what an f-string fills in counts as one word without an underscore."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = [re.escape(part.value) if isinstance(part, ast.Constant) else "[^_]+" for part in node.values]
            yield re.compile("".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.compile(re.escape(node.value))


def unused(files: list[str], sources: list[str]) -> list[str]:
    """Return those of ``files`` that are the whole of no string in ``sources``."""
    found = [name for source in sources for name in names(source)]
    return [file for file in files if not any(name.fullmatch(file) for name in found)]


def loaded() -> list[str]:
    """Return the sources of the tests of the losses."""
    return [path.read_text() for path in TESTS.glob("test_*.py") if path != Path(__file__)]


def test_every_golden_file_that_can_be_made_is_compared_with() -> None:
    assert not unused([case.name for case in CASES], loaded())


def test_every_golden_file_at_hand_is_compared_with() -> None:
    if not GOLDEN.is_dir():
        pytest.skip(HOW_TO_MAKE)
    # A file PAPER_* evaluates an equation and no released code: the references do that.
    files = sorted(path.stem for path in GOLDEN.glob("*.npz") if not path.stem.startswith("PAPER_"))
    # Of a file that is not used, a card's evidence gives the reason: "...; its name without _case0, its reason".
    evidence = "".join(f"; {card.evidence}" for card in LOSS_CARDS)
    missing = [file for file in unused(files, loaded()) if f"; {file.rpartition('_')[0]}, " not in evidence]
    assert not missing, f"no test loads {', '.join(missing)}: compare a loss with them, or give the reason in its card"


def test_what_counts_as_use() -> None:
    source = '''
"""Words about c_case0."""
# d_case0
golden("a_case0"); golden(f"b_{margin}_case{case}"); print(f"{x}", f"{x}-{y}")
'''
    files = ["a_case0", "b_1_case1", "c_case0", "d_case0", "e-1_case0", "b_1_2_case0"]
    assert unused(files, [source]) == ["c_case0", "d_case0", "e-1_case0", "b_1_2_case0"]
