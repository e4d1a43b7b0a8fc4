"""A row of a comparison is the mean of runs with the same code, also after its loss was edited."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from segdistill.comparison import equal_record
from segdistill.comparison import sweep as sweeps
from segdistill.comparison.compare import compare
from segdistill.comparison.equal_budget import Equal
from segdistill.comparison.estimate import estimate
from segdistill.comparison.plan import Plan, plan
from segdistill.comparison.search import search
from segdistill.errors import UserError
from tests.own_code import NAME, edit, own_module
from tests.tiny import TINY

MINE = f"mine=none:terms.mine.loss={NAME}:mine"
CHANGED = f"{NAME}:mine: its source file has changed"


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Path]:
    with own_module(tmp_path) as file:
        yield file


def planned(methods: str, seeds: str, *changes: str) -> Plan:
    return plan("quickstart", [*TINY, "train.iterations=3", *changes], methods, seeds)


def results(folder: Path) -> dict[str, int]:
    return {file.parent.name: file.stat().st_mtime_ns for file in folder.glob("*/result.json")}


def forget(folder: Path, key: str) -> None:
    record = folder / "comparison.json"
    content = json.loads(record.read_text())
    assert content.pop(key)
    record.write_text(json.dumps(content))


def test_a_new_seed_is_not_trained_with_an_edited_loss(module: Path, tmp_path: Path, console: Console) -> None:
    folder = tmp_path / "c"
    compare(planned(f"kd,{MINE}", "0,1"), folder, console=console)
    before = results(folder)
    edit(module, "  # the student", "  # the studnet")
    compare(planned(f"kd,{MINE}", "0,1"), folder, console=console)
    edit(module)
    message = (
        rf"{folder} was begun with other inputs \(row 'mine': {CHANGED}\); undo the change, give another --run-dir, or "
        r"delete mine-s0, mine-s1 in it \(if no result changes, delete 'code' in comparison.json\)$"
    )
    for command in (compare, estimate):
        with pytest.raises(UserError, match=message):
            command(planned(f"kd,{MINE}", "0,1,2"), folder, console=console)
    assert results(folder) == before
    compare(planned("kd", "0,1"), folder, console=console)  # the other rows are as they were
    shutil.rmtree(folder / "mine-s0")
    with pytest.raises(UserError, match="or delete mine-s1 in it"):
        compare(planned(f"kd,{MINE}", "0,1"), folder, console=console)
    shutil.rmtree(folder / "mine-s1")
    compare(planned(f"kd,{MINE}", "0,1"), folder, console=console)
    after = results(folder)
    assert after.keys() == before.keys()
    assert {name for name in before if before[name] != after[name]} == {"mine-s0", "mine-s1"}
    edit(module, ".square()", ".abs()")
    with pytest.raises(UserError, match=CHANGED):  # the row now has the digest of its new runs
        compare(planned(f"kd,{MINE}", "0,1,2"), folder, console=console)


def test_a_change_without_effect_is_accepted_by_its_remedy(module: Path, tmp_path: Path, console: Console) -> None:
    compare(planned(MINE, "0"), tmp_path / "c", console=console)
    before = results(tmp_path / "c")
    edit(module, "(student - teacher)", "(teacher - student)")
    with pytest.raises(UserError, match="delete 'code' in comparison.json"):
        compare(planned(MINE, "0"), tmp_path / "c", console=console)
    forget(tmp_path / "c", "code")
    forget(tmp_path / "c", "inputs")
    compare(planned(MINE, "0,1"), tmp_path / "c", console=console)
    assert results(tmp_path / "c").items() > before.items()
    edit(module, "(teacher - student)", "(student - teacher)")
    with pytest.raises(UserError, match=CHANGED):
        compare(planned(MINE, "0"), tmp_path / "c", console=console)


def test_a_loss_that_failed_before_the_first_checkpoint_may_be_mended(
    module: Path, tmp_path: Path, console: Console
) -> None:
    good = "return (student - teacher)"
    edit(module, good, f"mine.calls += 1\n    if mine.calls > 2:\n        raise RuntimeError('a bug')\n    {good}")
    module.write_text(f"{module.read_text()}\n\nmine.calls = 0\n")
    with pytest.raises(UserError, match=r"1 of 2 runs failed \(mine-s0\)"):
        compare(planned(MINE, "0"), tmp_path / "c", console=console)
    assert (tmp_path / "c/mine-s0").is_dir()
    edit(module, "raise RuntimeError('a bug')", "pass")
    compare(planned(MINE, "0"), tmp_path / "c", console=console)
    assert "mine-s0" in results(tmp_path / "c")


@pytest.mark.parametrize("network", ["student.model=code_of_a_test:small", "teacher.model=code_of_a_test:large"])
def test_the_networks_of_all_rows_are_the_same(network: str, module: Path, tmp_path: Path, console: Console) -> None:
    compare(planned("kd", "0", network), tmp_path / "c", console=console)
    edit(module, "nn.ReLU()", "nn.GELU()")
    name = network.partition("=")[2]
    with pytest.raises(UserError, match=rf"other inputs \({name}: its source file has changed\); restore them"):
        compare(planned("kd", "1", network), tmp_path / "c", console=console)
    forget(tmp_path / "c", "inputs")  # the last remedy
    compare(planned("kd", "0", network), tmp_path / "c", console=console)


def test_the_steps_of_an_edited_loss_are_decided_again(module: Path, tmp_path: Path, console: Console) -> None:
    folder, equal = tmp_path / "c", Equal("flops")
    compare(planned(f"kd,{MINE}", "0"), folder, console=console, equal=equal)
    before = json.loads((folder / "equal_flops.json").read_text())["methods"]
    assert set(before["mine"]["code"]) == {f"{NAME}:mine", "tests.networks:small", "tests.networks:large"}
    edit(module)
    with pytest.raises(UserError, match=rf"row 'mine@flops': {CHANGED}.* or delete mine@flops-s0"):
        compare(planned(f"kd,{MINE}", "0"), folder, console=console, equal=equal)
    assert json.loads((folder / "equal_flops.json").read_text())["methods"] == before
    shutil.rmtree(folder / "mine@flops-s0")
    compare(planned(f"kd,{MINE}", "0"), folder, console=console, equal=equal)
    after = json.loads((folder / "equal_flops.json").read_text())["methods"]
    assert after["mine"]["code"] != before["mine"]["code"]
    assert after["kd"] == before["kd"]
    assert "mine@flops-s0" in results(folder)


def test_the_budget_of_an_edited_reference_is_refused(module: Path, tmp_path: Path) -> None:
    equal, runs = Equal("flops", "mine"), planned(MINE, "0")
    code = equal_record.code_of_methods(runs)
    content = {"reference": "mine", "reference_steps": 3, "budget": 1.0}
    methods = {name: {"steps": 3, "code": code[name]} for name in ("none", "mine")}
    (tmp_path / "equal_flops.json").write_text(json.dumps({**content, "methods": methods}))
    record = equal_record.read_record(tmp_path, equal, runs)
    assert record is not None
    assert record.steps == {"none": 3, "mine": 3}
    edit(module)
    with pytest.raises(UserError, match=rf"budget of the reference 'mine' with other code \({CHANGED}\)"):
        equal_record.read_record(tmp_path, equal, runs)


def test_trials_have_the_code_of_the_first(module: Path, tmp_path: Path, console: Console) -> None:
    pytest.importorskip("optuna")
    choices = f"terms.mine.loss={NAME}:mine,tests.comparison.test_row_code:other"
    changes = [*TINY, "train.iterations=3", "method=none", "terms.mine.loss=tests.comparison.test_row_code:other"]
    searched = search("quickstart", changes, [choices])
    sweeps.sweep(searched, tmp_path / "s", trials=1, console=console)
    edit(module)
    with pytest.raises(UserError, match=rf"{CHANGED}\).*delete 'inputs' in sweep.json"):
        sweeps.sweep(searched, tmp_path / "s", trials=2, console=console)


def other(student, teacher, labels=None):
    """Another loss."""
    return (student - teacher).square().mean()


@pytest.mark.parametrize("wrong", [[], {"mine": 3}, {"mine": {"a:b": 3}}])
def test_a_damaged_record_is_named(wrong: object, tmp_path: Path, console: Console) -> None:
    record = tmp_path / "c/comparison.json"
    compare(planned("none", "0"), record.parent, console=console)
    record.write_text(json.dumps({**json.loads(record.read_text()), "code": wrong}))
    with pytest.raises(UserError, match=r"comparison.json is damaged; delete it"):
        compare(planned("none", "0"), record.parent, console=console)
