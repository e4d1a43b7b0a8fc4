"""A lint of the language: American spelling, and none of the mannerisms that made earlier texts hard to read."""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "segdistill"

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
]
BRITISH = (
    r"\w*colour\w*", r"neighbour\w*", r"behaviour\w*", r"favour\w*", r"(?:de|re)?normalis\w*", r"initialis\w*",
    r"optimis(?:e|er|ing|ation)\w*", r"minimis\w*", r"maximis\w*", r"summaris\w*", r"recognis\w*", r"generalis\w*",
    r"organis\w*",
    r"randomis\w*", r"quantis\w*", r"serialis\w*", r"synchronis\w*", r"analys(?:e|ed|ing)", r"centre\w*", r"licence\w*",
    r"labell\w*", r"unlabell\w*", r"modell\w*", r"cancell(?:ed|ing)", r"artefact\w*", r"grey\w*", r"whilst",
    r"distils?",
)  # fmt: skip
MANNERISMS = (
    r"beside", r"whatever", r"of (?:its|one's|their) own", r"go(?:es)? on", r"went on", r"as many", r"is that of",
    r"are those of", r"takes? out", r"stands?", r"lies?", r"says?", r"said", r"weighs?",
)  # fmt: skip
WORDS = re.compile(rf"\b(?:{'|'.join(BRITISH + MANNERISMS)})\b", re.IGNORECASE)
CODE = re.compile(r"```.*?```|``.*?``|`[^`]*`|\]\([^)]*\)|https?://\S+|^ {4}.*$", re.DOTALL | re.MULTILINE)
PAGE_CODE = re.compile(r"```.*?```|`[^`]*`|\]\([^)]*\)|https?://\S+|^ {4}segdistill.*$", re.DOTALL | re.MULTILINE)


def in_page(text: str) -> list[str]:
    """Return the words of a Markdown page that do not belong in it, outside code and links."""
    return WORDS.findall(PAGE_CODE.sub(" ", text))


def in_source(text: str) -> list[str]:
    """Return the words of docstrings, comments and messages that do not belong, and "What" at a module's beginning."""
    tree = ast.parse(text)
    opening = ["What ..."] if (ast.get_docstring(tree) or "").startswith("What ") else []
    return opening + [word for prose in _prose(tree, text) for word in WORDS.findall(CODE.sub(" ", prose))]


def _prose(tree: ast.Module, text: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and " " in node.value
            and "\n" not in node.value
        ):
            yield node.value  # a message, or a part of one
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node) or ""
            # Indented lines are prose in sections such as Args, and code only after "::".
            yield re.sub(r"^ +", "", re.sub(r"::\n\n(?: +.*\n|\n)+", "\n", docstring), flags=re.MULTILINE)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


@pytest.mark.parametrize("page", PAGES)
def test_pages(page: str) -> None:
    assert in_page((ROOT / page).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_source(file: Path) -> None:
    assert in_source(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES)
def test_no_heading_twice(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = Counter(re.findall(r"^#+ (.*)$", text, re.MULTILINE))
    assert [heading for heading, count in headings.items() if count > 1] == []


def test_what_is_found() -> None:
    assert in_page("The colour lies beside it. `colour` [x](colour.md)\n```\ncolour\n```\n") == [
        "colour", "lies", "beside"]  # fmt: skip
    assert in_page("Distill it; it distills. A stable center, initialized.") == []
    source = (
        '"""What a run is.\n\nExample::\n\n    colour = 1\n\nArgs:\n    x: Whatever.\n"""\ncolour = "grey"  # goes on\n'
    )
    assert in_source(source) == ["What ...", "Whatever", "goes on"]
    assert in_source('raise ValueError(f"no {name} beside it", "colour")') == ["beside"]
    assert WORDS.findall("optimised, an optimistic optimizer") == ["optimised"]
