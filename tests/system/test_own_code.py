"""The digest of a user's own code: what changes it and what does not."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from segdistill.system.own_code import source_digest
from tests.own_code import NAME, SOURCE, edit, own_module


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Path]:
    with own_module(tmp_path) as file:
        yield file


def digest(name: str = "mine") -> str:
    found = source_digest(f"{NAME}:{name}")
    assert found is not None
    assert len(found) == 64
    return found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (".abs()", ".square()"),
        ("Conv2d(9", "Conv2d(8"),  # any part of the file
        ("from torch import nn", "import torch  # for later\nfrom torch import nn"),
        ('"""Own loss and networks."""', '"""Own loss."""'),
        ("labels=None", "labels='#'"),
    ],
)
def test_a_change_of_code_is_another_digest(module: Path, old: str, new: str) -> None:
    before = digest()
    edit(module, old, new)
    assert digest() != before
    edit(module, new, old)
    assert digest() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # the student", "  # the studnet, é"),
        ("  # the student", ""),
        ("\n\n\ndef mine", "\n\n# A line.\n\n    # Another.\ndef mine"),
        (".mean()\n", ".mean()   \n\n"),
        ("\n", "\r\n"),
    ],
)
def test_comments_and_blank_lines_do_not_count(module: Path, old: str, new: str) -> None:
    before = digest()
    edit(module, old, new)
    assert digest() == before


def test_a_number_sign_in_a_text_is_no_comment(module: Path) -> None:
    digests = set()
    for text in ("a # b", "a # c"):
        module.write_text(SOURCE.replace("labels=None", f"labels='{text}'"))
        sys.modules.pop(NAME, None)
        digests.add(digest())
    assert len(digests) == 2


def test_the_file_that_defines_a_callable_counts_next_to_the_one_that_is_named(module: Path) -> None:
    other = module.with_name("names_of_a_test.py")
    other.write_text(f"from {NAME} import mine\n")
    try:
        first = source_digest("names_of_a_test:mine")
        edit(module)
        del sys.modules["names_of_a_test"]
        second = source_digest("names_of_a_test:mine")
        other.write_text(f"from {NAME} import mine, small\n")
        del sys.modules["names_of_a_test"], sys.modules[NAME]
        third = source_digest("names_of_a_test:mine")
    finally:
        sys.modules.pop("names_of_a_test", None)
    assert len({None, first, second, third}) == 4


def test_code_that_cannot_be_imported_has_no_digest(module: Path) -> None:
    module.with_name("broken_code_of_a_test.py").write_text("def (")
    assert source_digest("broken_code_of_a_test:mine") is None
    assert source_digest("no_module_of_a_test:mine") is None
    assert source_digest(f"{NAME}:nn") is None  # no callable


def typed(file: Path | None, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Return the digest of code that was not imported from its file."""
    module = ModuleType("typed_by_a_test")
    if file is not None:
        module.__file__ = str(file)
    exec("def mine(student, teacher): ...", module.__dict__)
    monkeypatch.setitem(sys.modules, "typed_by_a_test", module)
    return source_digest("typed_by_a_test:mine")


def test_code_without_a_file_has_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed(None, monkeypatch) is None  # as in a notebook


def test_a_file_that_python_cannot_read_counts_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for content in (b"\xff\x00a # b", b"\xff\x00a # c", b"x = (", b"x = ( # y"):
        (tmp_path / "compiled").write_bytes(content)
        digests.add(typed(tmp_path / "compiled", monkeypatch))
    assert len(digests - {None}) == 4


def test_the_digest_is_of_the_code_that_runs(module: Path) -> None:
    before = digest()
    imported = sys.modules[NAME]
    edit(module)
    sys.modules[NAME] = imported  # a process that goes on
    assert digest() == before
    del sys.modules[NAME]
    assert digest() != before
