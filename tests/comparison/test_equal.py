"""Comparisons at equal time and at equal operations."""

import io
import json
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import cycle, repeat
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from segdistill.comparison import equal_record
from segdistill.comparison.compare import compare
from segdistill.comparison.equal_budget import Cost, Equal, check_equal, equalized, steps_within, with_steps
from segdistill.comparison.equal_record import decide, seconds_of_methods, standard_error
from segdistill.comparison.estimate import estimate
from segdistill.comparison.plan import Plan, plan
from segdistill.comparison.shared_forms import SharedForms
from segdistill.errors import UserError
from segdistill.recipes import load
from segdistill.training import trial
from segdistill.training.run import distill
from segdistill.training.session import Session
from segdistill.training.trial import Trial, flops, recording_seconds, teacher_seconds
from segdistill.training.tuning import Choice
from tests.tiny import TINY, said, tiny

FLOPS = Equal("flops")


def planned(methods: str, seeds: str = "0", *changes: str) -> Plan:
    return plan("quickstart", [*TINY, *changes], methods, seeds)


def content(folder: Path, by: str = "flops") -> dict[str, Any]:
    return json.loads((folder / f"equal_{by}.json").read_text())


# What fits into a budget.


def test_the_budget_pays_for_the_work_before_the_first_step_too() -> None:
    assert steps_within(100.0, Cost(step=0.3, once=10.0), "kd") == 300
    assert steps_within(100.0, Cost(step=0.3), "kd") == 333
    assert Cost(step=0.3, once=10.0).of(300) == pytest.approx(100.0)


def test_a_budget_of_no_step_is_an_error() -> None:
    with pytest.raises(UserError, match=r"method 'kd': .*lower teacher\.replay"):
        steps_within(10.0, Cost(step=1.0, once=9.5), "kd")


def test_schedule_warm_up_and_validations_are_scaled() -> None:
    recipe = load("quickstart", ["train.iterations=3000", "train.warmup=300", "train.validate_every=1000"])
    train = with_steps(recipe, 2500).train
    assert (train.iterations, train.warmup, train.validate_every) == (2500, 250, 834)
    without = load("quickstart", ["train.iterations=3000", "train.validate_every=null"])
    assert with_steps(without, 10).train.validate_every is None
    assert with_steps(recipe, 2500).model_copy(update={"train": recipe.train}) == recipe


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("none", ["none 60", "kd@time 40", "gskd@time 20"]),
        ("gskd", ["none 60", "none@time 90", "kd@time 40", "gskd 60"]),
    ],
)
def test_the_student_alone_has_its_longer_run_too(reference: str, expected: Sequence[str]) -> None:
    before = planned("kd,gskd", "0,1", "train.iterations=60")
    after = equalized(before, Equal("time", reference), {"none": 90, "kd": 40, "gskd": 20})
    assert [f"{run.method} {run.recipe.train.iterations}" for run in after.runs] == expected * 2
    assert [run.recipe.seed for run in after.runs] == [0] * len(expected) + [1] * len(expected)
    assert after.shared == before.shared
    assert after.runs[-1].folder == f"{after.methods[-1]}-s1"


@pytest.mark.parametrize(
    ("by", "reference", "message"),
    [
        ("hours", None, "--equal: expected steps, time, flops, got 'hours'"),
        ("steps", "kd", "--reference needs --equal time"),
        ("time", "at", "--reference: expected one of the rows none, kd, got 'at'"),
    ],
)
def test_mistakes(by: str, reference: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_equal(by, reference, planned("kd"))


# Seconds.


class Scripted:
    """A trial whose steps take the seconds of a script, first those of the warm-up."""

    def __init__(self, seconds: Sequence[float], share: float, once: float) -> None:
        self.script, self.share, self.once = iter(seconds), share, once
        self.choice = Choice({}, {}, {"student": "as it is"})

    def seconds(self, steps: int) -> float:
        return next(self.script)


def test_a_slow_moment_of_the_machine_does_not_change_the_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = [1, 1, 5, 1, 3, 1, 1]  # the machine is five times slower in the third round
    noise = [1, 1, 1, 1, 1, 9, 1]  # and a hiccup meets kd alone
    scripts = {
        "none": Scripted([99.0, *(0.2 * each for each in load)], share=0.0, once=0.0),
        "kd": Scripted([99.0, *(0.3 * each * own for each, own in zip(load, noise, strict=True))], share=0.0, once=6.0),
        "maskd": Scripted([99.0, *(0.3 * each for each in load)], share=0.1, once=0.0),
    }
    monkeypatch.setattr(equal_record, "BUILDS", 1)
    monkeypatch.setattr(equal_record, "Trial", lambda session, console, before, *, records: scripts[session])
    found = seconds_of_methods({name: name for name in scripts}, "none", 10, SharedForms(tmp_path), records=True)
    assert found["none"]["step"] == pytest.approx(0.2)
    assert found["kd"]["step"] == pytest.approx(0.3)
    assert found["maskd"]["ratio"] == pytest.approx(2.0)  # (0.3 + 0.1) / 0.2
    assert found["kd"]["once"] == 6.0
    assert found["kd"]["rounds"][0][5] == pytest.approx(2.7)


def test_the_standard_error_within_builds_is_that_of_a_median() -> None:
    draws = torch.randn(400, 101, generator=torch.Generator().manual_seed(0)).double()
    seen = draws.median(dim=1).values.std().item()
    mean = sum(standard_error([row.tolist()]) for row in draws) / len(draws)
    assert mean == pytest.approx(seen, rel=0.1)
    assert standard_error([[2.0] * 7]) == 0.0


def test_the_standard_error_between_builds_counts_if_it_is_larger() -> None:
    # The deviation of the medians 1, 2 and 3 is 1.
    assert standard_error([[1.0] * 100, [2.0] * 100, [3.0] * 100]) == pytest.approx(1 / 3**0.5)


@pytest.mark.parametrize(("steps", "expected"), [(10, 7), (5_000, 84), (100_000, 153)])
def test_rounds_continue_until_the_ratios_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, expected: int
) -> None:
    """The ratios 1.4, 1.6 and 1.5 deviate by 0.148, so the error is below a hundredth after 153 rounds of 1.5 seconds.

    A share of 5 % of 5,000 steps of 0.2 and 0.3 seconds is 125 seconds, or 84 rounds.
    """
    script = {"none": repeat(0.2), "kd": cycle([0.28, 0.32, 0.3])}

    class Endless(Scripted):
        def __init__(self, name: str) -> None:
            super().__init__((), share=0.0, once=0.0)
            self.script = script[name]

    monkeypatch.setattr(equal_record, "BUILDS", 1)
    monkeypatch.setattr(equal_record, "Trial", lambda session, console, before, *, records: Endless(session))
    found = seconds_of_methods({name: name for name in script}, "none", steps, SharedForms(tmp_path), records=True)
    assert found["kd"]["ratio"] == pytest.approx(1.5)
    assert len(found["kd"]["rounds"][0]) == pytest.approx(expected, abs=2)


def test_networks_that_lie_badly_in_memory_once_are_outvoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = iter([(0.3, 6.0), (0.36, 9.0), (0.3, 5.0)])

    def built(name: str, *_: Any, **__: Any) -> Scripted:
        step, once = (0.2, 0.0) if name == "none" else next(builds)
        return Scripted(repeat(step), share=0.0, once=once)

    monkeypatch.setattr(equal_record, "Trial", built)
    found = seconds_of_methods({"none": "none", "kd": "kd"}, "none", 10, SharedForms(tmp_path), records=True)
    assert found["kd"]["ratio"] == pytest.approx(1.5)
    assert found["kd"]["ratio_error"] == pytest.approx(0.3 / 3**0.5 / 3**0.5)  # medians 1.5, 1.8, 1.5
    assert found["kd"]["once"] == 6.0


def test_a_method_measured_on_a_slower_day_counts_by_its_ratio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    days = iter([{"none": 1.0, "kd": 2.0}, {"none": 10.0, "gskd": 25.0}])

    def measured(sessions: dict[str, Any], reference: str, *_: Any, records: bool) -> dict[str, dict[str, Any]]:
        today = next(days)
        once = {"gskd": 50.0}  # on a day on which everything takes ten times as long
        return {
            name: {"step": today[name], "once": once.get(name, 0.0), "ratio": today[name] / today[reference]}
            for name in sessions
        }

    monkeypatch.setattr(equal_record, "seconds_of_methods", measured)
    console, equal, session = Console(record=True), Equal("time"), Session(tiny("train.iterations=100"))
    forms = SharedForms(tmp_path)
    first = decide(planned("kd", "0", "train.iterations=100"), equal, None, session, forms, tmp_path, console)
    assert first.steps == {"none": 100, "kd": 50}
    both = decide(planned("kd,gskd", "0", "train.iterations=100"), equal, first, session, forms, tmp_path, console)
    assert both.steps == {"none": 100, "kd": 50, "gskd": 38}  # (100 - 5) / 2.5
    assert both.budget == first.budget == 100.0
    assert content(tmp_path, "time")["methods"]["gskd"]["cost"] == pytest.approx(100.0)


def test_a_trial_takes_the_steps_of_the_run(tmp_path: Path) -> None:
    """The losses of a trial are those that the run logs."""
    quiet, changes = Console(quiet=True), ("method=kd", "baseline=false", "train.iterations=4", "train.log_every=1")
    distill(tiny(*changes), tmp_path / "run", console=quiet)
    trained = tiny(*changes, "teacher.train=null", f"teacher.weights={tmp_path / 'run' / 'teacher'}")
    tried, losses = Trial(Session(trained), quiet), []
    take = tried._training.take_step

    def noted(*args: Any) -> Any:
        out = take(*args)
        losses.append(float(out.total.detach()))
        return out

    object.__setattr__(tried._training, "take_step", noted)
    tried.seconds(2)
    tried.seconds(2)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert losses == [line["loss"] for line in lines if line["split"] == "train"]


def test_every_process_takes_the_seconds_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = Trial(Session(planned("kd").runs[0].recipe), Console(quiet=True))
    monkeypatch.setattr(tried._fabric, "broadcast", lambda seconds: 7.0)
    assert tried.seconds(1) == 7.0


# Operations.


def test_operations_of_kd_are_those_of_the_student_alone_and_of_the_teacher() -> None:
    recipe = tiny("method=kd")
    session = Session(recipe)
    kd, once = flops(session)
    alone, _ = flops(session.variant(planned("kd").runs[0].recipe))
    distiller = session.build_trial()
    images = session.stream()[0][0][None]
    with FlopCounterMode(display=False) as counter:
        distiller.teacher(images)
    assert kd == alone + recipe.train.batch_size * counter.get_total_flops()
    assert once == 0.0


def test_a_replayed_teacher_is_paid_before_the_first_step() -> None:
    live, _ = flops(Session(tiny("method=kd")))
    recipe = tiny("method=kd", "teacher.replay=3")
    replayed, once = flops(Session(recipe))
    images = len(Session(recipe).dataset("train"))
    assert once == pytest.approx((live - replayed) / recipe.train.batch_size * images * 3)


# The comparison.


def test_several_processes_share_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process answers its share of the crops, so the recording takes half the time with two."""
    session = Session(tiny("method=kd", "teacher.replay=3", "train.batch_size=4"))
    distiller = session.build_trial()
    answered = 0

    def prepare(images: torch.Tensor, labels: torch.Tensor) -> None:
        nonlocal answered
        answered += len(images)

    monkeypatch.setattr(distiller, "prepare", prepare)
    monkeypatch.setattr(trial, "_work", lambda fabric: float(answered))  # one second for each image
    crops = 3 * len(session.dataset("train"))
    assert recording_seconds(session, distiller) == pytest.approx(crops)
    assert teacher_seconds(session, distiller, nullcontext) == 4
    monkeypatch.setattr(type(session.fabric), "world_size", 2)
    assert recording_seconds(session, distiller) == pytest.approx(crops / 2)
    assert teacher_seconds(session, distiller, nullcontext) == 2  # the share of this process in a step


def test_the_recording_is_timed_in_the_precision_in_which_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(tiny("method=kd", "teacher.replay=3", "train.precision=bf16-mixed"))
    distiller = session.build_trial()
    seen = []
    monkeypatch.setattr(distiller, "prepare", lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    recording_seconds(session, distiller)
    teacher_seconds(session, distiller, session.fabric.autocast)
    assert seen == [False] * trial.ASKED + [True] * trial.ASKED


def test_a_trial_may_be_longer_than_the_run() -> None:
    """``compare --equal time`` takes more trial steps than a recipe with a small budget has."""
    assert Trial(Session(tiny("train.iterations=1")), Console(file=io.StringIO())).seconds(3) > 0


def test_steps_are_decided_once(tmp_path: Path) -> None:
    folder, console = tmp_path / "comparison", Console(record=True, width=200)
    compare(planned("kd"), folder, console=console, equal=FLOPS)
    first = content(folder)
    steps = {name: each["steps"] for name, each in first["methods"].items()}
    assert steps["none"] == first["reference_steps"]
    expected = int(first["budget"] / first["methods"]["kd"]["step"])
    assert steps["kd"] == expected < steps["none"]
    assert json.loads((folder / "kd@flops-s0" / "result.json").read_text())["iterations"] == steps["kd"]
    table = {row["method"]: row for row in json.loads((folder / "comparison.json").read_text())["table"]}
    assert {"none", "kd@flops", "teacher"} == set(table)
    before = (folder / "kd@flops-s0" / "result.json").stat().st_mtime_ns
    compare(planned("kd,at"), folder, console=console, equal=FLOPS)
    assert (folder / "kd@flops-s0" / "result.json").stat().st_mtime_ns == before
    assert {name: content(folder)["methods"][name] for name in ("none", "kd")} == first["methods"]
    assert (folder / "at@flops-s0" / "result.json").exists()
    for changed, equal in ((planned("kd"), Equal("flops", "kd")), (planned("kd", "0", "train.iterations=9"), FLOPS)):
        with pytest.raises(UserError, match="give another --run-dir"):
            compare(changed, folder, console=console, equal=equal)


def test_equal_steps_and_equal_operations_share_a_folder(tmp_path: Path) -> None:
    folder, console = tmp_path / "comparison", Console(record=True, width=200)
    compare(planned("kd"), folder, console=console)
    compare(planned("kd"), folder, console=console, equal=FLOPS)
    table = [row["method"] for row in json.loads((folder / "comparison.json").read_text())["table"]]
    assert table == ["none", "kd", "kd@flops", "teacher"]


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    estimate(planned("kd"), tmp_path / "comparison", console=console, equal=FLOPS)
    assert "kd@flops-s0" in said(console)
    assert not (tmp_path / "comparison").exists()
