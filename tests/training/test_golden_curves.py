"""Thirty steps of each kind of recipe give the losses that were recorded: a change of structure changes none of them.

``python -m benchmarks.curves golden`` records them again, for a change that is meant to change them.
"""

import json
from pathlib import Path

import pytest

from benchmarks import curve_sets
from benchmarks.curves import GOLDEN, PACKAGES, golden_curve, machine

RECORDED = json.loads(GOLDEN.read_text(encoding="utf-8"))
# Relative, for another processor or other versions: rounding errors grow with the steps.
FIRST_STEPS, FIRST_TOLERANCE, TOLERANCE = 5, 1e-3, 0.1


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curves")
    curve_sets.draw(folder)
    return folder


@pytest.mark.parametrize("name", curve_sets.RECIPES)
def test_losses_are_the_recorded_ones(name: str, root: Path) -> None:
    expected, runs = RECORDED["runs"][name], golden_curve(name, root)
    if machine() == RECORDED["machine"]:
        assert runs == expected
        return
    assert runs.keys() == expected.keys()
    for run, curve in runs.items():
        recorded = expected[run]["loss"]
        assert curve["loss"][:FIRST_STEPS] == pytest.approx(recorded[:FIRST_STEPS], rel=FIRST_TOLERANCE), run
        assert curve["loss"] == pytest.approx(recorded, rel=TOLERANCE), run


def test_every_recipe_is_recorded_for_all_steps() -> None:
    assert RECORDED["runs"].keys() == curve_sets.RECIPES.keys()
    assert RECORDED["machine"].keys() == {*PACKAGES, "processor", "instructions"}
    assert {len(runs["run"]["loss"]) for runs in RECORDED["runs"].values()} == {30}
