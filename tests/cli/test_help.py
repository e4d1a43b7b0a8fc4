"""What the command line tells of itself: examples that work, keys, names that are whole in a narrow terminal."""

import io
import os
import shlex
import subprocess
import sys

import pytest
import typer
from rich.console import Console

from segdistill.catalogue.cards import LOSS_CARDS
from segdistill.cli import data, lists
from segdistill.cli.app import app
from segdistill.errors import UserError
from segdistill.models.names import PAPERS
from segdistill.recipes import BUILTIN, METHODS, load
from segdistill.recipes.keys import describe, key_names
from segdistill.recipes.schema import Recipe

COMMANDS = typer.main.get_command(app).commands


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    said = io.StringIO()
    for module in (lists, data):
        monkeypatch.setattr(module, "console", Console(file=said, width=80, highlight=False, markup=False))
    return said


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_commands_that_work(name: str) -> None:
    first, *examples = COMMANDS[name].epilog.split("\n\n")
    assert first == "Examples:"
    assert len(examples) == 2
    for example in examples:
        program, command, *arguments = shlex.split(example)
        assert program == "segdistill"
        given = COMMANDS[command].make_context(command, arguments).params
        if given.get("recipe") in BUILTIN:
            load(given["recipe"], given["changes"] or [])
        if given.get("key"):
            assert describe(given["key"])


def test_every_key_has_a_description() -> None:
    keys = [key for section in Recipe.model_fields if section != "terms" for key in describe(section)]
    assert {key.name for key in keys} <= set(key_names())
    assert [key.name for key in keys if not key.description or not key.type] == []


def test_a_key_is_told_with_type_and_default(capsys: pytest.CaptureFixture[str], narrow: io.StringIO) -> None:
    lists.key("train.precision")
    assert narrow.getvalue().splitlines()[0] == "train.precision: 32-true or bf16-mixed or 16-mixed, default 32-true"
    (samples,) = describe("terms.gskd.samples")
    assert (samples.type, samples.default) == ("a whole number", "16")
    (labels,) = describe("terms.gskd.labels")
    assert labels.default == "valid"  # as `terms.gskd={}` gives it
    assert load("quickstart", ["method=none", "terms.gskd={}"]).terms["gskd"].labels == "valid"
    with pytest.raises(UserError, match=r"unknown key 'train\.precison'; did you mean 'train\.precision'\?"):
        describe("train.precison")


def test_defaults_are_those_of_the_schema() -> None:
    defaults = {key.name: key.default for key in describe("train")}
    assert defaults["train.momentum"] == "0.9"
    assert defaults["train.clip"] == "null"
    assert defaults["train.decay_at"] == "[0.3, 0.6, 0.9]"


def test_names_are_whole_at_80_columns(narrow: io.StringIO) -> None:
    lists.recipes(None)
    lists.losses()
    lists.models()
    data.show(None, [])
    shown = narrow.getvalue()
    assert "…" not in shown
    words = set(shown.split())
    for name in (*BUILTIN, *METHODS, *PAPERS, *(card.name for card in LOSS_CARDS)):
        assert name in words, name


def test_a_shell_completes_recipes() -> None:
    typed = {"_SEGDISTILL_COMPLETE": "complete_bash", "COMP_WORDS": "segdistill doctor qu", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "segdistill"], env=os.environ | typed, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["quickstart"]
