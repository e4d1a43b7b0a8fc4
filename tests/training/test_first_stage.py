"""Losses with parts of their own: before the student and beside it, stopped and resumed."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from segdistill.errors import Stopped, UserError
from segdistill.losses import FreeKD, MasKD
from segdistill.losses.self_taught import SelfTaught
from segdistill.recipes import Recipe
from segdistill.training import first_stage
from segdistill.training.run import distill
from tests.tiny import said, tiny


class Scale(SelfTaught):
    """Learns the teacher's mean logit; its value then compares the student's with it."""

    def __init__(self, share: float = 0.0) -> None:
        super().__init__()
        self.first_stage = share
        self.mean = nn.Parameter(torch.tensor(5.0))

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        return (student - self.mean.detach()).square().mean()

    def inner_parameters(self) -> Iterator[nn.Parameter]:
        yield self.mean

    def inner_objective(self, student: Tensor | None, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        assert (student is None) == (self.first_stage > 0)
        return (teacher.detach().mean() - self.mean).square()

    def inner_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.mean], lr=0.05)


class Broken(Scale):
    def inner_objective(self, student: Tensor | None, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().inner_objective(student, teacher, labels) * float("nan")


class Linear(Scale):
    def inner_objective(self, student: Tensor | None, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        return teacher.detach().mean() - self.mean


class Decaying(Linear):
    inner_power = 0.9


def recipe(share: float, loss: str = "Scale", *more: str) -> Recipe:
    term = (f"terms.mine.loss={__name__}:{loss}", f"terms.mine.share={share}")
    return tiny("method=none", "baseline=false", *term, *more)


def state(folder: Path) -> dict[str, Tensor]:
    return torch.load(folder / "checkpoints/last.pt", weights_only=True)["distiller"]


def test_a_first_stage_comes_before_the_student_and_ends(tmp_path: Path, console: Console) -> None:
    distill(recipe(0.75), tmp_path / "a", console=console)
    steps = [line for line in said(console).splitlines() if "first stage" in line]
    assert steps[-1].startswith("distilled, first stage 5/5  objective")  # 0.75 of the tiny recipe's 6 steps
    learned = state(tmp_path / "a")["terms.mine.loss.mean"]
    assert learned < 5 * 0.9**5 + 1  # gradient descent towards a mean near 0
    kept = torch.load(tmp_path / "a/checkpoints/first_stage.pt", weights_only=True)
    torch.testing.assert_close(kept["terms"]["mine.loss.mean"], learned)  # frozen beside the student


def test_what_is_told_of_a_step_is_of_all_its_parts(tmp_path: Path, console: Console) -> None:
    distill(recipe(1.0, "Linear"), tmp_path / "1", console=console)
    same_teacher = ("teacher.train=null", f"teacher.weights={tmp_path}/1/teacher", "train.accumulate=4")
    distill(recipe(1.0, "Linear", *same_teacher), tmp_path / "4", console=console)
    told = re.findall(r"first stage (\d+/6 +objective [\d.-]+)", said(console))
    assert len(told) == 2 * len(set(told)) >= 6


def test_parts_beside_the_student_have_an_optimiser_of_their_own(tmp_path: Path, console: Console) -> None:
    distill(recipe(0.0), tmp_path / "a", console=console)
    saved = torch.load(tmp_path / "a/checkpoints/last.pt", weights_only=True)
    assert [len(each["param_groups"][0]["params"]) for each in saved["optimizers"]][1:] == [1]
    assert saved["optimizers"][1]["param_groups"][0]["lr"] == 0.05
    assert saved["distiller"]["terms.mine.loss.mean"] < 5 * 0.9**6 + 1


def test_the_rate_of_the_stage_decays_if_the_loss_asks_for_it(tmp_path: Path, console: Console) -> None:
    # The gradient is -1, so the mean grows by the rate of each of the six steps.
    for loss, rates in (("Linear", [0.05] * 6), ("Decaying", [0.05 * (1 - step / 6) ** 0.9 for step in range(6)])):
        distill(recipe(1.0, loss), tmp_path / loss, console=console)
        assert float(state(tmp_path / loss)["terms.mine.loss.mean"]) == pytest.approx(5 + sum(rates))
    assert MasKD.inner_power == FreeKD.inner_power == 0.9  # poly, as MasKD's code


@pytest.mark.parametrize(
    ("share", "loss", "more"),
    [
        (1.0, "Scale", ()),
        (0.0, "Scale", ()),
        (1.0, "Scale", ("train.accumulate=2",)),
        (1.5, "Scale", ()),
        (1.0, "Decaying", ()),
    ],
)
def test_a_stopped_run_goes_on_to_the_same_weights(
    share: float, loss: str, more: tuple[str, ...], tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    distill(recipe(share, loss, *more), tmp_path / "whole", console=console)
    if share:
        taken = first_stage.FirstStageTraining._take_step

        def interrupted(*arguments: object) -> Tensor:
            signal.raise_signal(signal.SIGINT)
            return taken(*arguments)

        monkeypatch.setattr(first_stage.FirstStageTraining, "_take_step", interrupted)
        with pytest.raises(Stopped):
            distill(recipe(share, loss, *more), tmp_path / "parts", console=console)
        monkeypatch.undo()
        kept = torch.load(tmp_path / "parts/checkpoints/first_stage.pt", weights_only=True)
        assert kept["step"] == 1
    distill(recipe(share, loss, *more), tmp_path / "parts", console=console)
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=0, atol=0)


def test_an_objective_that_is_not_finite_is_named(tmp_path: Path, console: Console) -> None:
    with pytest.raises(UserError, match="inner objective of term 'mine' is nan at step 1 of the first stage; change"):
        distill(recipe(0.5, "Broken"), tmp_path / "a", console=console)


def test_following_the_advice_on_an_unreadable_stage(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    distill(recipe(1.0), tmp_path / "whole", console=console)
    folder = tmp_path / "parts"
    taken = first_stage.FirstStageTraining._take_step

    def failing(self: first_stage.FirstStageTraining, optimizers: object, parts: object, step: int) -> Tensor:
        if step == 4:
            raise KeyboardInterrupt  # as a process that is killed
        return taken(self, optimizers, parts, step)

    with monkeypatch.context() as patch:
        patch.setattr(first_stage.FirstStageTraining, "_take_step", failing)
        with pytest.raises(KeyboardInterrupt):
            distill(recipe(1.0), folder, console=console)
    file = folder / "checkpoints/first_stage.pt"
    assert torch.load(file, weights_only=True)["step"] == 3  # saved as often as the student would be
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "first_stage"] == [1, 2, 4]
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(UserError, match=r"first_stage.pt is not a checkpoint of a run: .*; delete it and run the same"):
        distill(recipe(1.0), folder, console=console)
    file.unlink()
    distill(recipe(1.0), folder, console=console)
    for name, value in state(tmp_path / "whole").items():
        torch.testing.assert_close(state(folder)[name], value, rtol=0, atol=0)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "first_stage"] == [1, 2, 4, 6]
