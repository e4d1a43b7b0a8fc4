"""What the README says is so."""

import json
import re
from pathlib import Path

import pytest

from segdistill.recipes import METHODS, load

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def block(language: str) -> str:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)[0]


def test_the_recipe_it_shows_loads(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(block("yaml"))
    recipe = load(file, ["train.learning_rate=0.01"])
    assert recipe.teacher is not None
    assert recipe.teacher.train is None
    assert recipe.terms["gskd"].weight == 5
    assert recipe.terms["gskd"].hyperparameters["stride"] == "classes"
    assert (recipe.train.iterations, recipe.data.crop) == (20000, (384, 384))


def test_the_comparison_it_shows_can_be_planned(tmp_path: Path) -> None:
    from segdistill.comparison.plan import plan

    assert len(block("yaml").splitlines()) <= 15
    file = tmp_path / "mine.yaml"
    file.write_text(block("yaml"))
    methods, seeds = re.search(r"compare mine.yaml --methods (\S+) --seeds (\S+)", README).groups()
    assert len(plan(str(file), [], methods, seeds).runs) == 6 * 3


def test_the_loop_it_shows_runs() -> None:
    import torch

    from tests.networks import sequential

    names = {"student": sequential(), "teacher": sequential(), "images": torch.randn(2, 3, 32, 32),
             "labels": torch.randint(4, (2, 32, 32))}  # fmt: skip
    exec(block("python"), names)
    assert names["student"].stem.weight.grad.abs().sum() > 0


def test_the_classes_file_it_shows_is_one() -> None:
    shown = re.search(r"optional: (\{.*\})", README)
    assert shown
    assert len(json.loads(shown[1])["palette"]) == 2


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_listed(method: str) -> None:
    assert f"`{method}`" in README
