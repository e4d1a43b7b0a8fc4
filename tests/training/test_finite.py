"""What is not finite never reaches the weights, nor a file; whose fault it was is said, and the advice works."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from segdistill.cli import main
from segdistill.errors import UserError
from segdistill.evaluation.finite import are_finite, not_finite
from segdistill.outputs import DistillerOutput
from segdistill.recipes import Recipe
from segdistill.training import loop
from segdistill.training.blame import blame_forward
from segdistill.training.checkpoints import Progress
from segdistill.training.doctor import examine
from segdistill.training.read_parts import read_parts
from segdistill.training.rehearsal import rehearse
from segdistill.training.run import alone_recipe, distill
from segdistill.training.session import Session
from segdistill.training.train import train_network
from tests.tiny import said, tiny

# What a loss below does at the call with this number, counted since a test began; None never.
trouble: dict[str, Any] = {"at": None, "calls": 0}


class _BadGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * float("nan")


def _is_now() -> bool:
    trouble["calls"] += 1
    return trouble["at"] is not None and trouble["calls"] >= trouble["at"]


def bad_value(student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
    return (student - teacher).square().mean() * (float("nan") if _is_now() else 1.0)


def bad_gradient(student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
    value = (student - teacher).square().mean()
    return _BadGradient.apply(value) if _is_now() else value


@pytest.fixture(autouse=True)
def no_trouble() -> None:
    trouble.update(at=None, calls=0)


def of(loss: str, *changes: str) -> Recipe:
    # log_every is large, so that nothing is looked at for its own sake at the step of the trouble
    term = f"terms.mine.loss={__name__}:{loss}"
    return tiny("baseline=false", "method=kd", "train.log_every=50", "train.iterations=8", term, *changes)


def files(folder: Path) -> dict[str, bytes]:
    names = ("checkpoints/last.pt", "checkpoints/best.pt", "student.safetensors")
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


WHAT = {
    "bad_value": r"term 'mine' is nan at step 6 \(forward pass\)",
    "bad_gradient": r"the gradient of term 'mine' is not finite at step 6 \(backward pass\)",
}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("loss", WHAT)
def test_the_term_the_step_and_the_pass_are_named_and_the_last_good_checkpoint_stays(
    loss: str, accumulate: int, tmp_path: Path, console: Console
) -> None:
    """Step 6 is one at which the run validates and saves."""
    recipe = of(loss, f"train.accumulate={accumulate}")
    kept: dict[str, bytes] = {}
    taken = loop.Training.take_step

    def watched(self, module, optimizers, batches, progress):
        if progress.step == 5 and self.folder.name == "run":
            trouble["at"] = 0
            kept.update(files(self.folder))
        return taken(self, module, optimizers, batches, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Training, "take_step", watched)
        with pytest.raises(UserError, match=WHAT[loss]) as caught:
            distill(recipe, tmp_path / "run", console=console)
    assert "lower train.learning_rate or terms.mine.weight" in str(caught.value)
    assert f"resume from step 3 ({tmp_path}/run/checkpoints/last.pt) with --resume" in str(caught.value)
    assert len(kept) == 3
    assert files(tmp_path / "run") == kept

    trouble["at"] = None  # which the advice mends
    changes = ("train.learning_rate=0.001", "terms.mine.weight=0.5", "train.clip=1")
    mended = of(loss, f"train.accumulate={accumulate}", *changes)
    with pytest.raises(UserError, match=r"holds the run of another recipe .*or accept the change with --resume"):
        distill(mended, tmp_path / "run", console=console)
    result = distill(mended, tmp_path / "run", console=console, must_exist=True)
    assert {change["step"] for change in result["changes"]} == {3}
    said_changes = [change["change"] for change in result["changes"]]
    assert "train.learning_rate: 0.01 there, 0.001 now" in said_changes
    assert "terms.mine.weight: 1.0 there, 0.5 now" in said_changes
    assert "train.clip: None there, 1.0 now" in said_changes
    assert json.loads((tmp_path / "run/environment.json").read_text())["changes"] == result["changes"]
    assert "resuming from step 3" in said(console)
    distill(mended, tmp_path / "run", console=console)  # recipe.yaml is the changed one
    assert "is finished" in said(console)


@pytest.mark.parametrize("loss", WHAT)
def test_before_the_first_checkpoint_the_same_folder_takes_the_change(
    loss: str, tmp_path: Path, console: Console
) -> None:
    trouble["at"] = 3  # the first call is the rehearsal's
    with pytest.raises(UserError, match=r"at step 2 .*run the command again \(nothing is saved yet\)"):
        distill(of(loss), tmp_path / "run", console=console)
    assert (tmp_path / "run/metrics.jsonl").read_text()
    assert not files(tmp_path / "run")
    trouble["at"] = None
    result = distill(of(loss, "train.learning_rate=0.001"), tmp_path / "run", console=console, must_exist=True)
    assert result["iterations"] == 8


def test_only_what_keeps_a_loss_finite_may_be_changed(tmp_path: Path, console: Console) -> None:
    trouble["at"] = 6
    with pytest.raises(UserError, match="at step 5 "):
        distill(of("bad_value"), tmp_path / "run", console=console)
    for change in ("train.momentum=0.5", "terms.kd.temperature=2", "train.iterations=9", "seed=1"):
        with pytest.raises(UserError, match="holds the run of another recipe") as caught:
            distill(of("bad_value", change), tmp_path / "run", console=console, must_exist=True)
        assert "--resume" not in str(caught.value)


def test_a_teacher_and_a_student_alone_beside_it_go_on_too(tmp_path: Path, console: Console) -> None:
    """The teacher inherits the learning rate; the one that is trained with the old one stays."""
    recipe = of("bad_value", "baseline=true")
    trouble["at"] = 6
    with pytest.raises(UserError, match="at step 5 "):
        distill(recipe, tmp_path / "run", console=console)
    trouble["at"] = None
    changes = ("baseline=true", "train.learning_rate=0.001", "teacher.train.learning_rate=0.002")
    distill(of("bad_value", *changes), tmp_path / "run", console=console, must_exist=True)
    assert "teacher: finished, and left unchanged; train.learning_rate: 0.01 there, 0.002 now" in said(console)
    alone = json.loads((tmp_path / "run/alone/result.json").read_text())
    assert "changes" not in alone
    distill(of("bad_value", *changes), tmp_path / "run", console=console)
    with pytest.raises(UserError, match=r"is finished \(train.learning_rate: 0.001 there, 0.0005 now"):
        distill(
            of("bad_value", *changes, "train.learning_rate=0.0005"), tmp_path / "run", console=console, must_exist=True
        )


@pytest.mark.parametrize("weight", ["auto:0.05", "0.25"])
def test_a_weight_that_set_itself_may_be_changed(weight: str, tmp_path: Path, console: Console) -> None:
    changes = ("train.iterations=14", "train.validate_every=6", "train.log_every=14")
    trouble["at"] = 9
    with pytest.raises(UserError, match="at step 8 "):
        distill(of("bad_value", *changes, "terms.mine.weight=auto:0.5"), tmp_path / "run", console=console)
    trouble["at"] = None
    changed = of("bad_value", *changes, f"terms.mine.weight={weight}")
    distill(changed, tmp_path / "run", console=console, must_exist=True)
    state = torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    used = [line["weight/mine"] for line in lines if line["split"] == "train"][-1]
    if weight == "0.25":
        assert state["shares"] == {}
        assert used == 0.25
    else:  # measured anew
        assert state["shares"] == {"mine": 0.05}
        assert int(state["distiller"]["terms.mine.weight.count"]) == 5
        assert used == pytest.approx(float(state["distiller"]["terms.mine.weight.total"]) / 5)


# Weights.


def test_values_that_are_finite_pass_however_large() -> None:
    assert are_finite([torch.full((3,), 1e38), torch.tensor(1e300, dtype=torch.float64), torch.zeros(0)])
    for wrong in ("nan", "inf", "-inf"):
        assert not are_finite([torch.ones(3), torch.tensor([0.0, float(wrong)])])


def test_statistics_of_batch_norm_are_weights_too() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    assert not_finite(network) is None
    network[1].running_var[2] = float("inf")
    assert not_finite(network) == "1.running_var"


def test_weights_that_overflow_in_the_last_step_are_not_saved(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "learning_rate", lambda train, step: float("inf") if step == 5 else 0.01)
    recipe = alone_recipe(tiny("train.momentum=0.9"))
    with pytest.raises(UserError, match=r"'student\..*' is not finite after step 6; lower .*resume from step 3"):
        train_network(Session(recipe), tmp_path / "run", console=console, label="alone")
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["step"] == 3
    assert not (tmp_path / "run/result.json").exists()
    assert all(torch.isfinite(value).all() for value in load_file(tmp_path / "run/student.safetensors").values())


@pytest.fixture
def spoiled(tmp_path: Path, console: Console) -> Path:
    """A finished run, one of whose student's weights is NaN."""
    folder = tmp_path / "spoiled"
    train_network(
        Session(alone_recipe(tiny("student.model=tests.networks:large"))), folder, console=console, label="teacher"
    )
    state = load_file(folder / "student.safetensors")
    name = next(name for name, value in state.items() if value.dim() == 4)
    state[name][0] = float("nan")
    save_file(state, folder / "student.safetensors")
    return folder


def test_loaded_weights_that_are_not_finite_are_named_with_their_network(spoiled: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the student's weights are not finite: '.*' holds nan or inf; give a file"):
        rehearse(Session(alone_recipe(tiny("student.model=tests.networks:large", f"student.weights={spoiled}"))))
    recipe = tiny("teacher.train=null", f"teacher.weights={spoiled}")
    with pytest.raises(UserError, match="the teacher's weights are not finite"):
        rehearse(Session(recipe))
    with pytest.raises(UserError, match="the teacher's weights are not finite"):
        Session(recipe).teacher()


@pytest.mark.parametrize("command", [("evaluate", "--trust"), ("predict", "--trust", "picture.png")])
def test_a_spoiled_student_is_not_used(
    command: tuple[str, ...], spoiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 32)).save("picture.png")
    monkeypatch.setattr("sys.argv", ["segdistill", command[0], str(spoiled), *command[1:]])
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == 2
    assert "weights are not finite" in capsys.readouterr().err


def test_float16_may_skip_some_steps_and_not_all() -> None:
    scaler = SimpleNamespace(get_scale=lambda: scale / 2)
    training = SimpleNamespace(_scaler=scaler, _remedy=lambda name: "lower something")
    progress, scale = Progress(), 2.0**16
    count: Callable[..., None] = loop.Training._count_skipped
    for _ in range(loop.SKIPS - 1):
        count(training, scale, progress)
    scaler.get_scale = lambda: scale  # a step was taken
    count(training, scale, progress)
    assert progress.skipped == 0
    scaler.get_scale = lambda: scale / 2
    with pytest.raises(UserError, match=r"last 30 steps are not finite in float16.*train.precision=bf16-mixed"):
        for _ in range(loop.SKIPS):
            count(training, scale, progress)


@pytest.mark.parametrize("loss", WHAT)
def test_doctor_finds_it_too(loss: str, console: Console) -> None:
    trouble["at"] = 3  # what is tried before the three steps calls it once
    with pytest.raises(UserError, match=WHAT[loss].replace("step 6", r"step \d") + "; lower .*, or change the term"):
        examine(Session(of(loss, "data.images=[12,3,3]")), console)
    trouble["at"] = None
    examine(Session(of(loss, "data.images=[12,3,3]")), console)  # and nothing else


# Several processes.


class TwoProcesses:
    """What a process sees of another one: ``theirs`` is added to whatever is summed over both."""

    world_size, device = 2, "cpu"

    def __init__(self, theirs: list[float]) -> None:
        self.theirs = torch.tensor(theirs)

    def all_reduce(self, ours: Tensor, reduce_op: str) -> Tensor:
        assert reduce_op == "sum"
        return ours + self.theirs.reshape(ours.shape)


def test_what_is_wrong_on_another_process_is_blamed_here_too() -> None:
    fine = torch.tensor(1.0)
    out = DistillerOutput(fine, {"task": fine, "kd": fine}, {}, {}, {"kd": fine})
    assert blame_forward(out, TwoProcesses([0, 0, 0, 0])) is None
    assert blame_forward(out, TwoProcesses([0, 1, 0, 1])) == ("kd", "term 'kd' is not finite")
    assert blame_forward(out, TwoProcesses([0, 0, 1, 1])) == ("kd", "the inner objective of term 'kd' is not finite")
    assert blame_forward(out, TwoProcesses([0, 0, 0, 1])) == ("NAME", "the total loss is not finite")
    ours = out._replace(terms={"task": fine, "kd": fine * float("inf")})
    assert blame_forward(ours, TwoProcesses([0, 0, 0, 0])) == ("kd", "term 'kd' is inf")


def test_an_image_that_another_process_cannot_read_stops_this_one_too() -> None:
    assert read_parts(TwoProcesses([0]), lambda: [1, 2]) == [1, 2]
    assert "another process could not read" in str(read_parts(TwoProcesses([1]), lambda: [1, 2]))
    ours = read_parts(TwoProcesses([0]), lambda: [1 / 0])
    assert isinstance(ours, ZeroDivisionError)
