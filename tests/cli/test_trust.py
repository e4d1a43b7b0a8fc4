"""No file of a run's folder runs code, and nothing of the working folder stands in for what is installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from segdistill import models
from segdistill.cli import main
from segdistill.distillation.build import check_terms
from segdistill.errors import UserError
from segdistill.models import build
from segdistill.recipes import load, to_yaml
from segdistill.system.importing import import_callable
from tests.networks import small
from tests.tiny import tiny

EVIL = """
from pathlib import Path
Path({flag!r}).touch()
from tests.networks import small as build
"""


@pytest.fixture
def flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there once the module ``evilmod`` of the working folder was imported."""
    (tmp_path / "evilmod.py").write_text(EVIL.format(flag=str(tmp_path / "imported")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "evilmod", raising=False)
    return tmp_path / "imported"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["segdistill", *arguments])
    with pytest.raises(SystemExit) as leaving:
        main()
    return int(leaving.value.code or 0)


def a_run(folder: Path, model: str) -> None:
    models.save_student(small(10), folder, name=model, num_classes=10, classes=[f"c{i}" for i in range(10)])
    (folder / "recipe.yaml").write_text(to_yaml(tiny(f"student.model={model}")))


@pytest.mark.parametrize("command", [("evaluate", "run"), ("predict", "run", "evilmod.png")])
def test_a_runs_folder_imports_nothing_unless_it_is_trusted(monkeypatch, flag: Path, capsys, command) -> None:
    a_run(flag.parent / "run", "evilmod:build")
    (flag.parent / "evilmod.png").touch()
    assert run(monkeypatch, *command) == 2
    assert (
        "student.json names code to import, 'evilmod:build'; if you trust it, give --trust" in capsys.readouterr().err
    )
    assert not flag.exists()
    run(monkeypatch, *command, "--trust")
    assert flag.exists()


def test_in_python_too(flag: Path) -> None:
    sys.path.append(str(flag.parent))
    a_run(flag.parent / "run", "evilmod:build")
    with pytest.raises(UserError, match="trust=True"):
        models.load("run")
    assert not flag.exists()
    assert models.read_description("run")["model"] == "evilmod:build"
    assert not flag.exists()
    models.load("run", trust=True)
    assert flag.exists()


@pytest.mark.parametrize("change", ["student.model=evilmod:build", "teacher.model=evilmod:build"])
@pytest.mark.parametrize("command", ["doctor", "distill", "train", "compare"])
def test_the_recipe_of_a_runs_folder_imports_nothing(
    monkeypatch, flag: Path, capsys, change: str, command: str
) -> None:
    folder = flag.parent / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(to_yaml(tiny(change)))
    (folder / "environment.json").write_text("{}")
    assert run(monkeypatch, command, "run/recipe.yaml") == 2
    assert "evilmod:build" in (said := capsys.readouterr().err)
    assert "is in a run's folder and names code to import" in said
    assert not flag.exists()


def test_a_recipe_that_stands_on_a_runs_recipe_neither_but_ones_own_may(monkeypatch, flag: Path, capsys) -> None:
    folder = flag.parent / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(to_yaml(tiny("student.model=evilmod:build")))
    (folder / "environment.json").write_text("{}")
    (flag.parent / "mine.yaml").write_text("recipe: run/recipe.yaml")
    assert run(monkeypatch, "doctor", "mine.yaml") == 2
    assert "run/recipe.yaml is in a run's folder" in capsys.readouterr().err
    assert not flag.exists()
    (flag.parent / "mine.yaml").write_text(to_yaml(tiny("student.model=evilmod:build", "data.images=[1,1,1]")))
    run(monkeypatch, "doctor", "mine.yaml", "train.batch_size=1")
    assert flag.exists()


def test_a_term_of_such_a_recipe_neither_and_trust_lets_it(monkeypatch, flag: Path, capsys) -> None:
    folder = flag.parent / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(to_yaml(tiny("student.model=unet/resnet18", "terms.x.loss=evilmod:build")))
    (folder / "environment.json").write_text("{}")
    assert run(monkeypatch, "doctor", "run/recipe.yaml") == 2
    assert not flag.exists()
    run(monkeypatch, "doctor", "run/recipe.yaml", "--trust")
    assert flag.exists()


def test_the_pictures_of_a_run_do_not_build_what_its_folder_names(flag: Path, tmp_path: Path, console) -> None:
    from segdistill.training.run import distill

    recipe = tiny("method=none", "baseline=false", "train.iterations=2", "train.validate_every=2")
    distill(recipe, tmp_path / "run", console=console)
    (tmp_path / "run/figures/comparison.png").unlink()
    description = json.loads((tmp_path / "run/student.json").read_text())
    (tmp_path / "run/student.json").write_text(json.dumps({**description, "model": "evilmod:build"}))
    distill(recipe, tmp_path / "run", console=console)
    assert (tmp_path / "run/figures/comparison.png").exists()
    assert not flag.exists()


@pytest.mark.parametrize("path", ["os:system", "subprocess:run", "builtins:eval", "torch.hub:load", "importlib:reload"])
def test_nothing_but_networks_and_losses_is_called(path: str) -> None:
    with pytest.raises(UserError, match=f"'{path}' is "):
        build(path, 3)
    recipe = load("quickstart", [f"terms.x.loss={path}", "terms.x.command=true"])
    with pytest.raises(UserError, match=f"'{path}' is "):
        check_terms(recipe.term_settings)


def test_a_borrowed_name_is_looked_through() -> None:
    with pytest.raises(UserError, match="is in Python's standard library"):
        import_callable("segdistill.models.weights:dataclass", "model")
    with pytest.raises(UserError, match="is neither a function nor a class derived from torch.nn.Module"):
        import_callable("segdistill.models.weights:LoadReport", "model")


@pytest.mark.parametrize("how", ["-m", "-c"])
def test_the_working_folder_shadows_nothing_installed(tmp_path: Path, how: str) -> None:
    for name in ("typer", "torch", "yaml", "rich"):
        (tmp_path / f"{name}.py").write_text(f"open('shadowed', 'w').write('{name}')")
    call = (
        ["-m", "segdistill"]
        if how == "-m"
        else [
            "-c",
            "from segdistill.system.working_folder import search_last; search_last()\n"
            "from segdistill.cli import main; main()",
        ]
    )
    done = subprocess.run([sys.executable, *call, "losses"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "shadowed").exists()
