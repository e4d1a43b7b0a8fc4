"""Sweeps: what may be searched, how they go on, that only the validation score counts."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from segdistill.comparison import sweep as module
from segdistill.comparison.search import Search, search
from segdistill.errors import Stopped, UserError
from segdistill.recipes import load
from segdistill.training import loop
from segdistill.training.train import train_network
from tests.cli.test_commands import run
from tests.tiny import TINY, said

WEIGHT = "terms.kd.weight=0.1..10:log"


def searched(*dimensions: str, changes: tuple[str, ...] = ()) -> Search:
    return search("quickstart", [*TINY, *changes], dimensions)


def sweep(*arguments: Any, **options: Any) -> None:
    pytest.importorskip("optuna")
    module.sweep(*arguments, **options)


def trials(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["trial"]: row for row in json.loads((folder / "sweep.json").read_text())["trials"]}


def test_ranges_and_choices() -> None:
    found = searched(
        WEIGHT, "terms.gskd.weight=1..10", "terms.gskd.samples=4..32", "terms.gskd.stride=8,16,classes"
    ).dimensions
    assert [(each.low, each.high, each.log, each.whole) for each in found[:3]] == [
        (0.1, 10, True, False), (1, 10, False, False), (4, 32, False, True),
    ]  # fmt: skip
    assert found[2].ends == (4, 32)
    assert found[3].choices == ("8", "16", "classes")


def test_a_trial_is_the_recipe_with_its_values() -> None:
    recipe = searched(WEIGHT, "terms.gskd.stride=8,classes").recipe(
        {"terms.kd.weight": 2.5, "terms.gskd.stride": "classes"}
    )
    assert recipe == load("quickstart", [*TINY, "terms.kd.weight=2.5", "terms.gskd.stride=classes", "baseline=false"])


@pytest.mark.parametrize(
    ("dimension", "expected"),
    [
        ("terms.kd.weight", "expected KEY=LOW..HIGH"),
        ("terms.kd.weight=3", "nothing to choose from"),
        ("terms.kd.weight=1..2..3", "nothing to choose from"),
        ("terms.kd.weight=2..1", "write the lower end first"),
        ("terms.kd.weight=0..1:log", "above 0"),
        ("train.iterations=5..10", "must be the same for all trials"),
        ("teacher.min_miou=0..1", "must be the same for all trials"),
        ("terms.kd.wieght=0..1", "unknown key of term 'kd'"),
        ("terms.gksd.weight=0..1", "method 'gskd' has no term 'gksd'; did you mean 'gskd'?"),
        ("terms.at.weight=1..2", "has no term 'at'; add it for all trials with terms.at={}"),
        ("train.learning_rate=0..1", "train.learning_rate: "),  # the recipe refuses the lower end
    ],
)
def test_a_wrong_range_is_one_line(dimension: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected) as error:
        searched(dimension)
    assert "\n" not in str(error.value)


def test_a_term_that_is_added_for_all_trials_is_searched_and_named() -> None:
    found = searched("terms.at.weight=1..2", changes=("terms.at={}",))
    assert found.recipe({"terms.at.weight": 1.5}).terms["at"].weight == 1.5
    assert found.base.label == "gskd+at"


def test_a_key_twice_is_refused() -> None:
    with pytest.raises(UserError, match="is set twice"):
        searched(WEIGHT, "terms.kd.weight=1,2")


def test_without_optuna_a_line_says_how_to_get_it(monkeypatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    asked = ("sweep", "quickstart", *TINY, "--set", WEIGHT, "--run-dir", str(tmp_path / "s"))
    assert run(monkeypatch, *asked) == 2
    assert capsys.readouterr().err == 'error: sweep needs the package optuna: pip install "segdistill[all]"\n'
    assert not (tmp_path / "s").exists()


def test_each_trial_is_a_run_scored_on_val(tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    # The validation score says the lower weight is better, the test score the opposite.
    def scored(session, folder, **options):
        result = train_network(session, folder, **options)
        if folder.name in ("teacher", "alone"):
            return result
        weight = session.recipe.terms["kd"].weight
        result = {**result, "val_miou": 1 / (1 + weight), "miou": weight}
        (folder / "result.json").write_text(json.dumps(result))
        return result

    monkeypatch.setattr(module, "train_network", scored)
    sweep(searched(WEIGHT), tmp_path / "s", trials=3, console=console)
    rows = list(trials(tmp_path / "s").values())
    weights = [row["terms.kd.weight"] for row in rows]
    assert weights == sorted(weights)
    assert len(set(weights)) == 3
    assert all(0.1 <= weight <= 10 for weight in weights)
    assert rows[0]["val_miou_percent"] == pytest.approx(100 / (1 + weights[0]))
    assert f"best: {rows[0]['trial']} with terms.kd.weight={weights[0]}" in said(console)
    journal = tmp_path / "s/optuna.log"
    told = [json.loads(line).get("values") for line in journal.read_text().splitlines()]
    expected = sorted(row["val_miou_percent"] / 100 for row in rows)
    assert sorted(values[0] for values in told if values) == pytest.approx(expected)
    compared = json.loads((tmp_path / "s/comparison.json").read_text())[
        "table"
    ]  # the test score, beside the student alone
    assert compared[0]["method"] == "none"
    assert {row["method"]: row["miou_percent"]["mean"] for row in compared[1:4]} == {
        f"gskd:terms.kd.weight={weight}": pytest.approx(100 * weight) for weight in weights
    }
    for row in rows:
        recipe = load(tmp_path / "s" / row["trial"] / "recipe.yaml")
        assert recipe.terms["kd"].weight == row["terms.kd.weight"]
    for name in ("sweep.md", "sweep.csv", "sweep.tex", "teacher/result.json"):
        assert (tmp_path / "s" / name).is_file()


def test_a_stopped_sweep_tries_what_it_would_have_tried(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = searched(WEIGHT, "terms.gskd.samples=4..32")
    sweep(space, tmp_path / "whole", trials=3, console=console)
    taken = loop.Training.take_step
    stops = [("trial-000", 4), ("trial-001", 2)]

    def interrupted(self, network, optimizer, batches, progress):
        out = taken(self, network, optimizer, batches, progress)
        if stops and (self.folder.name, progress.step) == stops[0]:
            stops.pop(0)
            signal.raise_signal(signal.SIGINT)
        return out

    monkeypatch.setattr(loop.Training, "take_step", interrupted)
    while stops:
        with pytest.raises(Stopped):
            sweep(space, tmp_path / "parts", trials=2, console=console)
    sweep(space, tmp_path / "parts", trials=2, console=console)
    assert "trial-001: resuming from step 2" in said(console)
    sweep(space, tmp_path / "parts", trials=3, console=console)  # more of them later
    whole, parts = (
        {name: {**row, "seconds": 0} for name, row in trials(tmp_path / folder).items()}
        for folder in ("whole", "parts")
    )
    assert whole == parts
    assert len(parts) == 3


def test_a_trial_that_fails_is_noted_and_the_others_go_on(tmp_path: Path, console: Console) -> None:
    # Of these two rates one is no rate to learn with.
    space = searched("train.learning_rate=1e30,0.01")
    sweep(space, tmp_path / "s", trials=6, console=console)
    rows = trials(tmp_path / "s")
    assert {row["train.learning_rate"] for row in rows.values()} == {"1e30", "0.01"}
    for row in rows.values():
        failed = row["train.learning_rate"] == "1e30"
        assert (row["val_miou_percent"] is None) == failed
        assert ("lower train.learning_rate" in (row["problem"] or "")) == failed
    sweep(space, tmp_path / "s", trials=6, console=console)
    assert trials(tmp_path / "s") == rows


def test_no_trial_is_trained_twice(tmp_path: Path, console: Console) -> None:
    space = searched("terms.kd.temperature=1,4")
    for number in (2, 5, 5):
        sweep(space, tmp_path / "s", trials=number, console=console)
        rows = trials(tmp_path / "s")
        assert sorted(rows) == ["trial-000", "trial-001"]
        assert {row["terms.kd.temperature"] for row in rows.values()} == {"1", "4"}
        assert sorted(run.name for run in (tmp_path / "s").glob("trial-*")) == ["trial-000", "trial-001"]
        for name, row in rows.items():  # each row has the result of its folder
            recipe = load(tmp_path / "s" / name / "recipe.yaml")
            assert recipe.terms["kd"].hyperparameters["temperature"] == float(row["terms.kd.temperature"])
        compared = json.loads((tmp_path / "s/comparison.json").read_text())["table"]
        assert sorted(row["method"] for row in compared if row["method"].startswith("gskd:")) == [
            "gskd:terms.kd.temperature=1",
            "gskd:terms.kd.temperature=4",
        ]
    assert said(console).count("all 2 combinations of values are tried; more trials would repeat them") == 2


def test_another_sweep_in_the_same_folder_is_refused(tmp_path: Path, console: Console) -> None:
    sweep(searched(WEIGHT), tmp_path / "s", trials=1, console=console)
    with pytest.raises(UserError, match=r"holds the sweep of another recipe \(space.terms.kd.weight.high: 10.0 there"):
        sweep(searched("terms.kd.weight=0.1..20:log"), tmp_path / "s", trials=1, console=console)
    with pytest.raises(UserError, match=r"train.iterations: 6 there, 7 now"):
        sweep(searched(WEIGHT, changes=("train.iterations=7",)), tmp_path / "s", trials=1, console=console)
    for content in (
        "{",
        "null",
        "{}",
        '{"recipe": 1, "space": {}, "trials": []}',
        '{"recipe": {}, "space": {}, "trials": [3]}',
    ):
        (tmp_path / "s/sweep.json").write_text(content)
        with pytest.raises(UserError, match=r"sweep.json is damaged; give another --run-dir, or delete the folder"):
            sweep(searched(WEIGHT), tmp_path / "s", trials=1, console=console)
    sweep(searched(WEIGHT), tmp_path / "other", trials=1, console=console)
    for lines in (b"{\n", b"null\n", b"[1]\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n"):
        (tmp_path / "other/optuna.log").write_bytes(lines)
        with pytest.raises(UserError, match=r"optuna.log is damaged; give another --run-dir, or delete the folder"):
            sweep(searched(WEIGHT), tmp_path / "other", trials=1, console=console)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds no sweep"):
        sweep(searched(WEIGHT), tmp_path / "mine", trials=1, console=console)


def test_the_command(monkeypatch, tmp_path: Path, capsys) -> None:
    pytest.importorskip("optuna")
    asked = ("sweep", "quickstart", *TINY, "--set", WEIGHT, "--method", "kd", "--trials", "1", "--seed", "3")
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *asked) == 0
    assert "best: trial-000 with terms.kd.weight=" in capsys.readouterr().out
    recipe = load(tmp_path / "runs/quickstart-kd-sweep/trial-000/recipe.yaml")
    assert (recipe.method, recipe.seed) == ("kd", 3)
