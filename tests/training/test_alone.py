"""A distillation of next to no weight gains nothing: every command trains the same student alone."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from segdistill.comparison.compare import compare
from segdistill.comparison.plan import plan
from segdistill.errors import UserError
from segdistill.recipes import alone_recipe
from segdistill.runs.json_files import read_json
from segdistill.training.rehearsal import rehearse
from segdistill.training.run import distill
from segdistill.training.session import Session
from segdistill.training.teacher_runs import teacher_recipe
from tests.cli.test_commands import run
from tests.networks import WithAux
from tests.tiny import TINY, said, tiny

NEXT_TO_NOTHING = ("method=kd", "terms.kd.weight=1e-6", "train.learning_rate=0.1")
TASKS = {
    "own loss": (f"terms.task.loss={__name__}:rare", "terms.task.weight=2"),
    "no auxiliary head": ("terms.task.aux_weight=0", f"student.model={__name__}:with_aux"),
}


def rare(student: Tensor, teacher: None, labels: Tensor) -> Tensor:
    """Weigh every class by its index, so that the rare ones, which are the last, count more."""
    assert teacher is None
    logits = F.interpolate(student, labels.shape[1:], mode="bilinear")
    return F.cross_entropy(logits, labels, torch.arange(1.0, logits.shape[1] + 1), ignore_index=255)


def with_aux(num_classes: int) -> WithAux:
    return WithAux(num_classes)


def weights(folder: Path) -> dict[str, Tensor]:
    return torch.load(folder / "checkpoints/last.pt", weights_only=True)["distiller"]


def assert_equal(one: Path, other: Path) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("task", TASKS)
def test_next_to_no_distillation_gains_nothing_in_any_command(
    task: str, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*NEXT_TO_NOTHING, *TASKS[task])
    distill(tiny(*words), tmp_path / "run", console=console)
    alone = tmp_path / "run/alone"
    mean = next(line for line in said(console).splitlines() if line.startswith("mIoU"))
    assert mean.split()[-1] == "+0.0"

    assert run(monkeypatch, "train", "quickstart", *TINY, *words, "--run-dir", str(tmp_path / "train")) == 0
    assert_equal(alone, tmp_path / "train")
    assert run(monkeypatch, "train", "quickstart", *TINY, *words, "--run-dir", str(tmp_path / "train")) == 0  # goes on
    assert run(monkeypatch, "train", "quickstart", "--teacher", *TINY, *words, "--run-dir", str(tmp_path / "big")) == 0
    assert_equal(tmp_path / "run/teacher", tmp_path / "big")

    compare(plan("quickstart", [*TINY, *words], "kd", "0"), tmp_path / "compared", console=console)
    gain = next(row["gain_points"] for row in read_json(tmp_path / "compared/comparison.json")["table"][1:])
    assert gain["mean"] == pytest.approx(0, abs=0.05)
    for name, same in (("none-s0", alone), ("teacher", tmp_path / "big"), ("kd-s0", tmp_path / "run")):
        assert_equal(tmp_path / "compared" / name, same)


@pytest.mark.parametrize("task", TASKS)
def test_a_sweep_stands_beside_the_same_student_alone(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    words = ("quickstart", *TINY, *NEXT_TO_NOTHING, *TASKS[task])
    search = ("--set", "terms.kd.weight=1e-7..1e-6", "--trials", "1", "--run-dir", str(tmp_path / "sweep"))
    assert run(monkeypatch, "sweep", *words, *search) == 0
    assert run(monkeypatch, "train", *words, "--run-dir", str(tmp_path / "train")) == 0
    assert_equal(tmp_path / "sweep/alone", tmp_path / "train")
    gain = read_json(tmp_path / "sweep/comparison.json")["table"][1]["gain_points"]["mean"]
    assert gain == pytest.approx(0, abs=0.05)


def test_an_own_task_needs_no_teacher(tmp_path: Path, console: Console, monkeypatch, capsys) -> None:
    words = ("method=none", "teacher=null", *TASKS["own loss"])
    distill(tiny(*words), tmp_path / "run", console=console)
    assert run(monkeypatch, "doctor", "quickstart", *TINY, *words) == 0
    assert "rare" in capsys.readouterr().out
    assert run(monkeypatch, "compare", "quickstart", *TINY, *words, "--seeds", "0", "--dry-run") == 0


def test_a_row_of_its_own_beside_the_student_alone_is_not_called_so(tmp_path: Path, console: Console) -> None:
    result = distill(tiny("method=none", "terms.at={}"), tmp_path / "run", console=console)
    assert result["method"] == "at"
    header = next(line for line in said(console).splitlines() if line.startswith("class "))
    assert header.split() == ["class", "student", "alone", "at", "teacher", "gain"]


class ForTeachers(torch.nn.Module):
    def __init__(self, teacher_channels: int) -> None:
        super().__init__()


def test_a_task_that_must_know_the_teacher_is_refused_with_and_without_one() -> None:
    words = f"terms.task.loss={__name__}:ForTeachers"
    for recipe in (tiny(words), alone_recipe(tiny(words))):
        with pytest.raises(UserError, match="term 'task': this loss needs a teacher, and there is none"):
            rehearse(Session(recipe))


def test_the_teachers_own_training_is_on_its_own_features() -> None:
    pair = "{student: classify, teacher: 'classify:input'}"
    deep = f"terms.deep={{loss: cross_entropy, on: {pair}, weight: 0.1}}"
    recipe = tiny(f"terms.task.on={pair}", deep)
    assert {name: term.on for name, term in teacher_recipe(recipe).terms.items()} == {
        "task": "classify:input",
        "deep": "classify:input",
    }
    assert alone_recipe(recipe).terms["deep"].on == {"student": "classify", "teacher": "classify:input"}
