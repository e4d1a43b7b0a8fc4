"""Whole jobs from Python: the same code and files as the commands."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console

import segdistill
from segdistill.errors import UserError
from segdistill.jobs.checks import as_arguments
from segdistill.recipes import load
from tests.tiny import TINY

CHANGES = {key: yaml.safe_load(value) for key, _, value in (change.partition("=") for change in TINY)}


def test_changes_are_the_same_as_a_mapping() -> None:
    awkward = {
        "name": "null",
        "train.learning_rate": 1e-5,
        "data.crop": [32, 32],
        "baseline": False,
        "description": "a: b",
    }
    recipe = load("quickstart", as_arguments(awkward))
    assert (recipe.name, recipe.train.learning_rate, recipe.data.crop) == ("null", 1e-5, (32, 32))
    assert (recipe.baseline, recipe.description) == (False, "a: b")
    assert load("quickstart", as_arguments(CHANGES)) == load("quickstart", TINY)


def test_a_run_from_python(tmp_path: Path, console: Console) -> None:
    run = segdistill.distill("quickstart", CHANGES, run_dir=tmp_path / "run", console=console, trust=True)
    assert run.result == json.loads((tmp_path / "run/result.json").read_text())
    assert run.alone.result["method"] == "none"
    assert run.teacher.result["params"] > run.result["params"]
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    labels = run.predict(pixels)
    assert (labels.shape, labels.dtype) == ((20, 30), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    assert (run.predict(tmp_path / "image.png") == labels).all()
    assert not run.student.training
    with pytest.raises(UserError, match=r"pixels are uint8 \(H, W, 3\), got float64 \(20, 30\)"):
        run.predict(np.zeros((20, 30)))
    assert run.alone.alone is None


def test_the_table_of_a_comparison(tmp_path: Path, console: Console) -> None:
    table = segdistill.compare(
        "quickstart", CHANGES, methods=["kd"], seeds=[0], run_dir=tmp_path, console=console, trust=True
    )
    assert [row["method"] for row in table] == ["none", "kd", "teacher"]
    assert table == json.loads((tmp_path / "comparison.json").read_text())["table"]
    with pytest.raises(UserError, match="no student.json"):
        segdistill.Run(tmp_path)


def test_without_its_packages_the_command_says_how_to_get_them() -> None:
    code = "import sys; sys.modules['typer'] = None; from segdistill.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == 'error: the command needs the package typer; pip install "segdistill[all]"\n'
