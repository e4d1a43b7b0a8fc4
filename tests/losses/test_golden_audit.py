"""Every file of reference numbers is compared with, or a card says why not."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from segdistill.catalogue.cards import LOSS_CARDS

TESTS = Path(__file__).parent
GOLDEN = TESTS.parents[2] / "shared" / "golden"


def names(source: str) -> Iterator[re.Pattern[str]]:
    """The strings of Python source; what an f-string fills in stands for one word without an underscore."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = [re.escape(part.value) if isinstance(part, ast.Constant) else "[^_]+" for part in node.values]
            yield re.compile("".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.compile(re.escape(node.value))


def unused(files: list[str], sources: list[str]) -> list[str]:
    """Those of ``files`` that are the whole of no string in ``sources``."""
    found = [name for source in sources for name in names(source)]
    return [file for file in files if not any(name.fullmatch(file) for name in found)]


def test_every_reference_file_is_compared_with() -> None:
    if not GOLDEN.is_dir():
        pytest.skip("needs the reference numbers in ../shared/golden")
    files = sorted(path.stem for path in GOLDEN.glob("*.npz"))
    sources = [path.read_text() for path in TESTS.glob("test_*.py") if path != Path(__file__)]
    # Of a file that is not used, a card's evidence says why: "...; its name without _case0, its reason".
    evidence = "".join(f"; {card.evidence}" for card in LOSS_CARDS)
    missing = [file for file in unused(files, sources) if f"; {file.rpartition('_')[0]}, " not in evidence]
    assert not missing, f"no test loads {', '.join(missing)}: compare a loss with them, or let its card say why not"


def test_what_counts_as_use() -> None:
    source = '''
"""Words about c_case0."""
# d_case0
golden("a_case0"); golden(f"b_{margin}_case{case}"); print(f"{x}", f"{x}-{y}")
'''
    files = ["a_case0", "b_1_case1", "c_case0", "d_case0", "e-1_case0", "b_1_2_case0"]
    assert unused(files, [source]) == ["c_case0", "d_case0", "e-1_case0", "b_1_2_case0"]
