"""Nothing is written outside the folders a command names, and nothing but text reaches the terminal."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.table import Table

from segdistill.errors import UserError
from segdistill.recipes import load
from segdistill.system.terminal import Screen, printable
from segdistill.training.console import Narrator
from tests.cli.test_commands import run
from tests.tiny import TINY, tiny

EVIL = "\x1b]0;title\x07\x1b[2Jroad\r\u202e\x9b\udc80"


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        assert run(patch, "train", "quickstart", *TINY, "--run-dir", str(folder)) == 0
    return folder


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


# Names of recipes.


@pytest.mark.parametrize(
    ("command", "below"),
    [("distill", "_.._elsewhere-none-s0"), ("compare", "_.._elsewhere-comparison"), ("train", "_.._elsewhere-none-s0")],
)
def test_a_recipes_name_leads_nowhere_but_runs(command: str, below: str, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    more = ("--methods", "none", "--seeds", "0") if command == "compare" else ()
    assert run(monkeypatch, command, "quickstart", *TINY, "method=none", "name=../../elsewhere", *more) == 0
    assert [each.name for each in tmp_path.iterdir()] == ["work"]
    assert [each.name for each in (tmp_path / "work").iterdir()] == ["runs"]
    assert [each.name for each in (tmp_path / "work/runs").iterdir()] == [below]


def test_the_name_itself_is_kept() -> None:
    assert load("quickstart", ["name=../../elsewhere"]).name == "../../elsewhere"


@pytest.mark.parametrize("name", ["/etc/teacher", "a/b", "..", "a\\b"])
def test_a_teachers_name_is_that_of_a_folder(name: str) -> None:
    members = {name: {"model": "tests.networks:large", "weights": "x"}}
    with pytest.raises(UserError, match="a member's name becomes a folder, got '"):
        tiny(f"teacher={json.dumps({'members': members})}")


# Predictions.


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.png", "deep/b.jpg"):
        Image.fromarray(rng.integers(0, 255, (32, 48, 3), np.uint8)).save(folder / name)
    return folder


def predict(monkeypatch, run_folder: Path, *arguments: Path | str) -> int:
    return run(monkeypatch, "predict", "--trust", str(run_folder), *map(str, arguments))


def test_a_link_in_out_is_replaced_and_not_followed(monkeypatch, student, pictures, tmp_path) -> None:
    mine, out = tmp_path / "mine.png", tmp_path / "out"
    mine.write_text("mine")
    out.mkdir()
    for name in ("a_labels.png", "a_overlay.png", "a_overlay.png.tmp"):
        (out / name).symlink_to(mine)
    assert predict(monkeypatch, student, pictures, "--out", out) == 0
    assert mine.read_text() == "mine"
    assert not any(file.is_symlink() for file in out.rglob("*"))
    assert files(out) == {"a_labels.png", "a_overlay.png", "deep/b_labels.png", "deep/b_overlay.png", "legend.png"}


def test_a_link_to_a_folder_in_out_is_refused(monkeypatch, student, pictures, tmp_path, capsys) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/deep").symlink_to(tmp_path / "mine")
    assert predict(monkeypatch, student, pictures, "--out", tmp_path / "out") == 2
    assert "out/deep is a link and leads out of --out" in capsys.readouterr().err
    assert not files(tmp_path / "mine")
    (tmp_path / "out/deep").unlink()  # the advice
    assert predict(monkeypatch, student, pictures, "--out", tmp_path / "out") == 0
    (tmp_path / "link").symlink_to(tmp_path / "mine")  # a link that the user names is meant
    assert predict(monkeypatch, student, pictures, "--out", tmp_path / "link") == 0


def test_out_is_not_the_folder_of_the_pictures(monkeypatch, student, pictures, capsys) -> None:
    before = files(pictures)
    assert predict(monkeypatch, student, pictures, "--out", pictures / "deep" / "..") == 2
    assert "--out is the folder of the pictures" in capsys.readouterr().err
    assert files(pictures) == before


@pytest.mark.parametrize("out", ["deep", "new", ".."])
def test_a_second_time_only_the_pictures_are_segmented(
    monkeypatch,
    student,
    pictures,
    out: str,
    capsys,
) -> None:
    for _ in range(2):
        assert predict(monkeypatch, student, pictures, "--out", pictures / out) == 0
        assert "2 overlays and label PNGs" in capsys.readouterr().out
    assert len(files(pictures.parent)) == 2 + 4 + 1  # pictures, their results, the legend


def test_pictures_that_are_named_beside_their_results(monkeypatch, student, pictures, capsys) -> None:
    """As a shell's *.png names them the second time."""
    for _ in range(2):
        assert predict(monkeypatch, student, *pictures.glob("*.png"), "--out", pictures) == 0
        assert "1 overlays" in capsys.readouterr().out


def test_no_picture_is_overwritten(monkeypatch, student, pictures, capsys) -> None:
    mine = pictures / "a_overlay.png"  # which is no result: its pair is not there
    mine.write_bytes((pictures / "a.png").read_bytes())
    assert predict(monkeypatch, student, pictures / "a.png", mine, "--out", pictures) == 2
    assert "would overwrite the input" in capsys.readouterr().err
    assert mine.read_bytes() == (pictures / "a.png").read_bytes()
    assert predict(monkeypatch, student, pictures / "a.png", mine, "--out", pictures / "elsewhere") == 0


# The terminal.


def test_what_steers_a_terminal_is_shown_as_its_escape() -> None:
    shown = printable(EVIL)
    assert shown == r"\x1b]0;title\x07\x1b[2Jroad\r\u202e\x9b\udc80"
    assert printable("Straße\t日本\n[wet] é") == "Straße\t日本\n[wet] é"


def test_nothing_printed_steers_the_terminal() -> None:
    screen = Screen(file=io.StringIO(), width=200, force_terminal=True, color_system=None, markup=False)
    table = Table(EVIL, title=EVIL, box=None)
    table.add_row(EVIL)
    screen.print(EVIL)
    screen.print(table)
    narrator = Narrator(screen, f"[/wet] {EVIL}")  # not taken for markup either
    narrator.begin(0, 2)
    narrator.step(1, {EVIL: 1.0}, None)
    narrator.close()
    said = screen.file.getvalue()
    assert EVIL[:5] not in said
    assert "\x1b[2J" not in said
    assert said.count(r"\x1b]0;title") >= 5
    assert "[/wet]" in said


def test_an_error_does_not_steer_the_terminal(monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "distill", f"{EVIL}.yaml") == 2
    assert capsys.readouterr().err.startswith(r"error: no such recipe file: \x1b]0;title")
    assert run(monkeypatch, "distill", "quickstart", *TINY, "--run-dir", f"{tmp_path}/\x1b[2J/\x00") == 2
    assert "\x1b" not in capsys.readouterr().err
