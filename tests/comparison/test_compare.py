"""Comparisons: what is run, how they go on, what they refuse."""

import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from segdistill.comparison import parallel
from segdistill.comparison.compare import compare
from segdistill.comparison.estimate import Cost, steps_done
from segdistill.comparison.method_rows import parse_methods
from segdistill.comparison.plan import Plan, first_runs, plan
from segdistill.comparison.scoreboard import LOGS
from segdistill.data import Scenes
from segdistill.errors import Stopped, UserError
from segdistill.jobs.compare import compare as job
from segdistill.recipes import load
from segdistill.runs.run_folder import RunFolder
from segdistill.training import loop
from segdistill.training.run import distill
from segdistill.training.session import Session
from tests.own_code import NAME, edit, own_module
from tests.tiny import TINY, said, tiny


def planned(methods: str | None, seeds: str = "0", *changes: str) -> Plan:
    return plan("quickstart", [*TINY, *changes], methods, seeds)


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "comparison.json").read_text())


def row(folder: Path, method: str) -> dict[str, Any]:
    return next(row for row in record(folder)["table"] if row["method"] == method)


def states(folder: Path) -> dict[str, str]:
    return {run["folder"]: run["state"] for run in record(folder)["runs"]}


def results(folder: Path) -> dict[str, int]:
    return {file.parent.name: file.stat().st_mtime_ns for file in folder.glob("*/result.json")}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["distiller"]


# What is run.


def test_runs_go_seed_by_seed_with_the_student_alone_first() -> None:
    runs = planned("kd,none,gskd,kd", "2,0,2").runs
    assert [run.folder for run in runs] == ["none-s2", "kd-s2", "gskd-s2", "none-s0", "kd-s0", "gskd-s0"]
    assert [run.recipe.seed for run in runs] == [2, 2, 2, 0, 0, 0]


def test_the_first_runs_are_those_of_each_method_that_are_left() -> None:
    runs = planned("kd", "2,0").runs
    assert first_runs(runs) == {"none": runs[0], "kd": runs[1]}
    assert list(first_runs(runs[1:]).items()) == [("kd", runs[1]), ("none", runs[2])]


def test_without_methods_it_is_the_recipes_own() -> None:
    assert planned(None).methods == ("none", "gskd")


def test_runs_differ_in_nothing_but_terms_and_seed() -> None:
    runs = planned("kd,gskd:train.learning_rate=0.5", "0,1").runs
    assert [run.recipe.train.learning_rate for run in runs] == [0.01, 0.01, 0.5] * 2
    bare = [run.recipe.model_dump(exclude={"seed", "terms", "method", "teacher"}) for run in runs]
    assert bare[0] == bare[1]
    assert bare[2].pop("train") != bare[0].pop("train")
    assert bare[2] == bare[0]


def test_a_recipes_terms_go_to_the_methods_that_have_them() -> None:
    runs = planned("kd,gskd,dist+gskd", "0", "terms.gskd.weight=5", "terms.task.aux_weight=0").runs
    terms = {run.method: run.recipe.terms for run in runs}
    assert {method: sorted(found) for method, found in terms.items()} == {
        "none": ["task"], "kd": ["kd", "task"], "gskd": ["gskd", "kd", "task"], "dist+gskd": ["dist", "gskd", "task"],
    }  # fmt: skip
    assert terms["gskd"]["gskd"].weight == terms["dist+gskd"]["gskd"].weight == 5
    assert terms["none"]["task"].hyperparameters["aux_weight"] == 0


# Terms that the user adds.


@pytest.mark.parametrize("where", ["on the command line", "in the file"])
def test_a_term_that_no_row_would_have_is_an_error_whose_advice_works(where: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("recipe: quickstart\nterms: {mine: {loss: 'tests.losses:mine', weight: 3}}\n")
    source, changes = (tmp_path / "mine.yaml", TINY)
    if where == "on the command line":
        source, changes = "quickstart", (*TINY, "terms.mine={loss: 'tests.losses:mine', weight: 3}")
    with pytest.raises(UserError, match="no row has the term 'mine'") as caught:
        plan(source, changes, "kd,gskd", "0")
    advised = re.findall(r"as in (\S+?)(?:, or|$)", str(caught.value))
    assert advised == ["kd:terms.mine={}", "mine=none:terms.mine={}"]
    for advice in advised:
        runs = {run.method: run.recipe for run in plan(source, changes, f"kd,gskd,{advice}", "0").runs}
        name = advice.partition("=")[0] if advice.startswith("mine") else advice
        assert [method for method, recipe in runs.items() if "mine" in recipe.terms] == [name]
        assert runs[name].terms["mine"].weight == 3


def test_a_term_like_one_of_a_rows_is_taken_for_a_slip() -> None:
    with pytest.raises(UserError, match=r"no row has the term 'cwd' \(did you mean 'cwd_\w+'\?\)"):
        planned("kd,cwd", "0", "terms.cwd.weight=2")


def test_a_term_of_one_rows_method_is_in_no_other_row() -> None:
    runs = planned("kd,gskd,cwd+gskd", "0", "method=kd", "terms.gskd.weight=5").runs
    weights = {run.method: run.recipe.terms["gskd"].weight for run in runs if "gskd" in run.recipe.terms}
    assert weights == {"gskd": 5, "cwd+gskd": 5}


def test_without_methods_the_row_has_the_added_term_and_says_so() -> None:
    runs = planned(None, "0", "method=kd", "terms.at={}").runs
    assert [(run.method, set(run.recipe.terms)) for run in runs] == [
        ("none", {"task"}),
        ("kd+at", {"task", "kd", "at"}),
    ]
    assert runs[1].folder == "kd+at-s0"


def test_a_term_without_a_teacher_is_in_every_row() -> None:
    runs = planned("kd,gskd", "0", "terms.deep={loss: cross_entropy, on: head}").runs
    assert all("deep" in run.recipe.terms for run in runs)
    assert [run.recipe.distils for run in runs] == [False, True, True]


def test_a_loss_is_a_row_and_a_row_has_a_name() -> None:
    runs = {run.method: run for run in planned("dkd,soft=kd:terms.kd.temperature=4,terms.kd.weight=2,kd").runs}
    assert list(runs) == ["none", "dkd", "soft", "kd"]
    assert set(runs["dkd"].recipe.terms) == {"task", "dkd"}
    soft = runs["soft"].recipe
    assert (soft.method, soft.terms["kd"].weight, soft.terms["kd"].hyperparameters["temperature"]) == ("kd", 2, 4)
    assert runs["soft"].folder == "soft-s0"


@pytest.mark.parametrize("methods", ["a=kd,a=gskd", "a=kd,a=kd", "kd=gskd,kd", "kd,kd=gskd", "none=kd"])
def test_two_rows_of_one_name_are_refused(methods: str) -> None:
    with pytest.raises(UserError, match="there is a row '.*' already"):
        planned(methods)


@pytest.mark.parametrize(
    ("typed", "name", "remedy"),
    [
        ("class=dkd:terms.dkd.weight=2", "class", "my_class=dkd:terms.dkd.weight=2"),
        ("group=dkd", "group", "my_group=dkd"),
        ("share_percent=dkd", "share_percent", "my_share_percent=dkd"),
        ("teacher", "teacher", "my_teacher=teacher"),  # an own method of this name
        ("none_std=dkd", "none_std", "my_none_std=dkd"),
        ("kd_std=dkd", "kd_std", "my_kd_std=dkd"),
    ],
)
def test_a_row_with_the_name_of_another_column_is_refused(typed: str, name: str, remedy: str) -> None:
    with pytest.raises(UserError, match=f"'{name}' is the name of .*; give the row another name, as in {remedy}$"):
        parse_methods(f"kd,{typed}")
    assert list(parse_methods(f"kd,{remedy}")) == ["none", "kd", f"my_{name}"]
    assert "fit_std" in parse_methods("kd,fit_std=dkd")


def test_the_student_alone_has_the_task_that_all_have() -> None:
    runs = planned("kd,aicsd", "0", "method=aicsd", "terms.task.loss=tests.losses:mine").runs
    assert {run.recipe.terms["task"].loss for run in runs} == {"tests.losses:mine"}
    assert [run.recipe.terms["task"].weight for run in runs] == [1, 1, {"linear": {"start": 0, "end": 1}}]


def test_a_method_with_changes_of_its_own() -> None:
    typed = "gskd,gskd:terms.gskd.samples=8,terms.gskd.stride=classes,none:terms.mine={loss: 'a:b', on: [head, logits]}"
    assert {name: (row.method, *row.changes) for name, row in parse_methods(typed).items()} == {
        "none": ("none",),
        "gskd": ("gskd",),
        "gskd:terms.gskd.samples=8,terms.gskd.stride=classes": (
            "gskd", "terms.gskd.samples=8", "terms.gskd.stride=classes",
        ),
        "none:terms.mine={loss: 'a:b', on: [head, logits]}": ("none", "terms.mine={loss: 'a:b', on: [head, logits]}"),
    }  # fmt: skip
    runs = planned(typed.replace("a:b", "tests.losses.nowhere:loss")).runs
    samples = [run.recipe.terms["gskd"].hyperparameters["samples"] for run in runs if "gskd" in run.recipe.terms]
    assert samples == [16, 8]
    assert runs[2].folder == "gskd_terms.gskd.samples=8,terms.gskd.stride=classes-s0"
    assert runs[3].recipe.teacher is not None


def test_the_student_alone_with_another_setting_is_a_row(tmp_path: Path, console: Console) -> None:
    """A method is compared with the student alone at its best learning rate, or the comparison flatters the method."""
    comparison = planned("kd,low=none:train.learning_rate=0.001")
    alone, kd, low = (run.recipe for run in comparison.runs)
    assert (low.teacher, low.train.learning_rate) == (None, 0.001)
    assert alone.train.learning_rate == kd.train.learning_rate != 0.001
    compare(comparison, tmp_path / "c", console=console)
    lines = {line.split()[0]: line for line in said(console).splitlines() if line.startswith(("kd ", "low "))}
    assert set(lines) == {"kd", "low"}


def test_two_methods_that_would_share_a_folder_are_refused() -> None:
    with pytest.raises(UserError, match="would share a folder"):
        planned("kd:terms.kd.on='logits',kd:terms.kd.on=_logits_")


# What it leaves.


def test_a_comparison_is_what_distill_runs(tmp_path: Path, console: Console) -> None:
    compare(planned("gskd", "0"), tmp_path / "compared", console=console)
    distill(tiny(), tmp_path / "run", console=console)
    for one, other in (("none-s0", "alone"), ("gskd-s0", "."), ("teacher", "teacher")):
        expected = weights(tmp_path / "run" / other)
        found = weights(tmp_path / "compared" / one)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=0)
    for name in ("json", "md", "csv", "tex"):
        assert (tmp_path / f"compared/comparison.{name}").is_file()
    assert not (tmp_path / "compared/gskd-s0/alone").exists()
    assert load(tmp_path / "compared/gskd-s0/recipe.yaml") == tiny("baseline=false")
    assert "over the student alone" in said(console)
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_table_is_there_after_every_run(tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    taken = loop.Training.run

    def looking(self):
        seen.append([run for run, state in states(tmp_path / "c").items() if state == "finished"])
        return taken(self)

    monkeypatch.setattr(loop.Training, "run", looking)
    compare(planned("kd", "0,1"), tmp_path / "c", console=console)
    assert [sorted(finished) for finished in seen] == [
        [], [], ["none-s0"], ["kd-s0", "none-s0"], ["kd-s0", "none-s0", "none-s1"],
    ]  # fmt: skip


def test_pixels_are_those_of_all_training_labels() -> None:
    dataset = Scenes("train", length=12, size=(32, 48))
    counts = sum(np.bincount(dataset.read(index)[1].ravel(), minlength=256) for index in range(12))
    assert list(Session(tiny()).class_pixels().values()) == list(counts[:10])


def edge(student: torch.Tensor, teacher: None, labels: torch.Tensor | None = None) -> torch.Tensor:
    assert teacher is None
    return student.diff(dim=-1).abs().mean()


edge.needs_teacher = False


def test_a_loss_of_ones_own_without_a_teacher_is_part_of_every_row(tmp_path: Path, console: Console) -> None:
    own = (f"terms.edge.loss={__name__}:edge", "terms.edge.needs_teacher=false")
    compare(planned("kd", "0", *own), tmp_path / "c", console=console)
    for name, terms in (("none", {"task", "edge"}), ("kd", {"task", "kd", "edge"})):
        losses = [json.loads(line) for line in (tmp_path / f"c/{name}-s0/metrics.jsonl").read_text().splitlines()]
        assert all(entry[term] > 0 for entry in losses if entry["split"] == "train" for term in terms)
    alone = planned("none", "0", *own)
    compare(alone, tmp_path / "alone", console=console)
    assert not (tmp_path / "alone/teacher").exists()
    rows = planned(f"kd,edge=none:{','.join(own)}").runs
    assert {run.method: set(run.recipe.terms) for run in rows} == {
        "none": {"task"}, "kd": {"task", "kd"}, "edge": {"task", "edge"},
    }  # fmt: skip


def test_the_key_is_asked_for_before_the_plan(tmp_path: Path, console: Console) -> None:
    changes = [*TINY, f"terms.edge.loss={__name__}:edge"]
    with pytest.raises(UserError, match=r"term 'edge': .*give terms.edge.needs_teacher=false too"):
        job("quickstart", changes, methods="kd", run_dir=tmp_path / "c", console=console)


# How it goes on.


def test_a_stopped_comparison_goes_on_and_repeats_nothing(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(planned("kd", "0,1"), tmp_path / "whole", console=console)
    taken = loop.Training.take_step
    stops = [("teacher", 2), ("none-s0", 5), ("kd-s1", 1)]

    def interrupted(self, module, optimizer, batches, progress):
        out = taken(self, module, optimizer, batches, progress)
        if stops and (self.folder.name, progress.step) == stops[0]:
            stops.pop(0)
            signal.raise_signal(signal.SIGINT)
        return out

    monkeypatch.setattr(loop.Training, "take_step", interrupted)
    finished: dict[str, int] = {}
    while stops:
        with pytest.raises(Stopped):
            compare(planned("kd", "0,1"), tmp_path / "parts", console=console)
        assert results(tmp_path / "parts").items() >= finished.items()
        finished = results(tmp_path / "parts")
    assert set(finished) == {"teacher", "none-s0", "kd-s0", "none-s1"}
    assert row(tmp_path / "parts", "none")["seeds"] == "2 of 2"  # a table of what there is
    assert row(tmp_path / "parts", "kd")["seeds"] == "1 of 2"
    assert steps_done(tmp_path / "parts/kd-s1") == 1
    compare(planned("kd", "0,1"), tmp_path / "parts", console=console)
    assert results(tmp_path / "parts").items() >= finished.items()
    assert "kd seed 1: resuming from step 1" in said(console)
    for name in ("none-s0", "kd-s1"):
        whole, parts = weights(tmp_path / "whole" / name), weights(tmp_path / "parts" / name)
        assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_methods_and_seeds_are_added_later_with_the_same_teacher(tmp_path: Path, console: Console) -> None:
    compare(planned("kd", "4"), tmp_path / "c", console=console)
    before = results(tmp_path / "c")
    compare(planned("kd,dist", "1,4"), tmp_path / "c", console=console)
    assert results(tmp_path / "c").items() >= before.items()
    assert set(results(tmp_path / "c")) == {
        "teacher",
        *(f"{name}-s{s}" for name in ("none", "kd", "dist") for s in (1, 4)),
    }
    assert load(tmp_path / "c/teacher/recipe.yaml").seed == 4
    compare(planned("gskd", "4"), tmp_path / "c", console=console)  # what is not asked for keeps its place
    assert [each["method"] for each in record(tmp_path / "c")["table"]] == ["none", "kd", "dist", "gskd", "teacher"]
    assert [row(tmp_path / "c", name)["seeds"] for name in ("kd", "gskd")] == ["2 of 2", "1 of 1"]


def test_a_teacher_that_is_too_weak_goes_on_once_less_is_asked_of_it(tmp_path: Path, console: Console) -> None:
    with pytest.raises(UserError, match="below teacher.min_miou=0.9: train it longer.*or lower teacher.min_miou"):
        compare(planned("kd", "0", "teacher.min_miou=0.9"), tmp_path / "c", console=console)
    trained = results(tmp_path / "c")
    assert set(trained) == {"teacher"}
    compare(planned("kd", "0", "teacher.min_miou=0.01"), tmp_path / "c", console=console)
    assert results(tmp_path / "c").items() >= trained.items()


def test_a_row_with_a_name_says_what_it_is_and_goes_on_saying_so(tmp_path: Path, console: Console) -> None:
    compare(planned("soft=kd:terms.kd.temperature=4,terms.kd.weight=2"), tmp_path / "c", console=console)
    compare(planned("kd"), tmp_path / "c", console=console)
    assert "\n* soft is kd:terms.kd.temperature=4,terms.kd.weight=2\n" in (tmp_path / "c/comparison.md").read_text()
    assert [each["method"] for each in record(tmp_path / "c")["table"]] == ["none", "soft", "kd", "teacher"]
    with pytest.raises(UserError, match="soft-s0 holds the run of another recipe"):
        compare(planned("soft=kd:terms.kd.temperature=2"), tmp_path / "c", console=console)


def test_what_is_finished_is_only_shown(tmp_path: Path, console: Console) -> None:
    compare(planned("none"), tmp_path / "c", console=console)
    before = (tmp_path / "c/comparison.md").read_text()
    shutil.rmtree(tmp_path / "c/none-s0/checkpoints")  # large, and no longer needed
    compare(planned("none"), tmp_path / "c", console=console)
    assert said(console).count("runs to do") == 1
    assert (tmp_path / "c/comparison.md").read_text() == before


def test_killed_at_the_very_beginning_of_a_run(tmp_path: Path, console: Console) -> None:
    compare(planned("none"), tmp_path / "c", console=console)
    begun = tmp_path / "c/kd-s0"
    begun.mkdir()
    for name in ("environment.json", "recipe.yaml.tmp"):
        (begun / name).write_text("{")
    compare(planned("kd"), tmp_path / "c", console=console)
    assert states(tmp_path / "c") == {"none-s0": "finished", "kd-s0": "finished"}


def test_the_differences_end_it(tmp_path: Path, console: Console) -> None:
    compare(planned("kd", "0,1"), tmp_path / "c", console=console, against="kd")
    found = record(tmp_path / "c")
    assert found["differences"]["reference"] == "kd"
    row = found["differences"]["rows"][0]
    assert (row["method"], row["classes"], row["seeds"]) == ("none", "all", 2)
    scores = {run["folder"]: run["miou"] for run in found["runs"]}
    gains = {str(seed): 100 * (scores[f"none-s{seed}"] - scores[f"kd-s{seed}"]) for seed in (0, 1)}
    assert row["by_seed"] == pytest.approx(gains)
    assert row["over_images"]["low"] <= row["difference_points"]["mean"] <= row["over_images"]["high"]
    images = json.loads((tmp_path / "c" / "comparison_images.json").read_text())
    assert set(images["runs"]) == set(scores)
    assert images["images"] == ["test_00000", "test_00001", "test_00002"]
    assert "differences in mIoU to kd, points" in said(console)
    assert found["differences"]["conclusions"][0] in said(console)


# What fails.


def bursts(student: torch.Tensor, teacher: torch.Tensor, labels: None = None) -> torch.Tensor:
    """Works in the rehearsal, and not in the run."""
    bursts.calls += 1
    if bursts.calls > 2:
        raise RuntimeError("CUDA out of memory\nmore lines")
    return (student - teacher).square().mean()


def test_a_bug_or_no_memory_ends_one_run_and_not_the_others(tmp_path: Path, console: Console) -> None:
    bursts.calls = 0
    methods = f"kd:terms.mine.loss={__name__}:bursts,kd"
    with pytest.raises(UserError, match=r"1 of 3 runs failed"):
        compare(planned(methods, "0"), tmp_path / "c", console=console)
    assert "failed: term 'mine': CUDA out of memory" in (tmp_path / "c/comparison.md").read_text()
    assert (tmp_path / "c/kd-s0/result.json").exists()


def test_a_run_that_fails_is_noted_and_the_others_go_on(tmp_path: Path, console: Console) -> None:
    methods = "kd:train.learning_rate=1e30,gskd"
    with pytest.raises(UserError, match=r"1 of 3 runs failed \(kd_train.learning_rate=1e30-s0\)"):
        compare(planned(methods), tmp_path / "c", console=console)
    assert states(tmp_path / "c") == {
        "none-s0": "finished", "kd_train.learning_rate=1e30-s0": "failed", "gskd-s0": "finished",
    }  # fmt: skip
    assert "at step 2 (forward pass); lower train.learning_rate" in (tmp_path / "c/comparison.md").read_text()
    compare(planned("gskd"), tmp_path / "c", console=console)  # not asked for, no failure; still in the table
    assert "lower train.learning_rate" in (tmp_path / "c/comparison.md").read_text()


def test_a_run_that_failed_is_tried_again(tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:

        def fails(self, out, batches, step):
            if self.folder.name == "kd-s0":
                raise UserError("the total loss is nan")

        patch.setattr(loop.Training, "_check_finite", fails)
        with pytest.raises(UserError, match="1 of 2 runs failed"):
            compare(planned("kd"), tmp_path / "c", console=console)
    compare(planned("kd"), tmp_path / "c", console=console)
    assert set(states(tmp_path / "c").values()) == {"finished"}
    assert "nan" not in (tmp_path / "c/comparison.md").read_text()


def test_a_wrong_word_in_the_last_method_is_found_before_the_first_run(tmp_path: Path, console: Console) -> None:
    with pytest.raises(UserError, match=r"method 'gskd:terms.gskd.on=hed': .*did you mean 'head'"):
        compare(planned("kd,gskd:terms.gskd.on=hed"), tmp_path / "c", console=console)
    assert not (tmp_path / "c").exists()


def test_a_bad_teacher_is_refused_once_and_first(tmp_path: Path, console: Console) -> None:
    distill(tiny("baseline=false"), tmp_path / "run", console=console)
    changes = ("teacher.train=null", f"teacher.weights={tmp_path / 'run/teacher'}", "teacher.min_miou=0.99")
    with pytest.raises(UserError, match="below teacher.min_miou"):
        compare(planned("kd", "0", *changes), tmp_path / "c", console=console)
    assert not (tmp_path / "c").exists()
    compare(planned("kd", "0", *changes[:2]), tmp_path / "c", console=console)
    teacher = json.loads((tmp_path / "run/teacher/result.json").read_text())
    assert row(tmp_path / "c", "teacher")["miou_percent"]["mean"] == pytest.approx(100 * teacher["miou"])
    assert not (tmp_path / "c/teacher").exists()


@pytest.mark.parametrize(
    ("change", "said_of_it"),
    [("train.iterations=7", "train.iterations: 6 there, 7 now"), ("terms.kd.weight=3", "terms.kd.weight: 1.0 there")],
)
def test_another_recipe_in_the_same_folder_is_refused(
    change: str, said_of_it: str, tmp_path: Path, console: Console
) -> None:
    compare(planned("kd"), tmp_path / "c", console=console)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "c").rglob("*")}
    with pytest.raises(UserError, match=said_of_it):
        compare(planned("kd,gskd", "0", change), tmp_path / "c", console=console)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "c").rglob("*")} == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path, console: Console) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds no comparison"):
        compare(planned("kd"), tmp_path / "c", console=console)
    with pytest.raises(UserError, match="is a file"):
        compare(planned("kd"), tmp_path / "c/notes.txt", console=console)


def test_a_recipe_that_lies_in_its_run_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("recipe: quickstart\n")
    with pytest.raises(UserError, match="holds no run"):
        RunFolder(tmp_path, tiny())


# How long it takes.


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        # 10 steps, validated at 4, 8 and 10: 10 x 2 s; (3 x 5 + 7) images of 1 s; the teacher sees 5 + 7 of 0.5 s.
        (0, 20 + 22 + 6),
        (4, 12 + 17 + 6),
        (9, 2 + 12 + 6),
    ],
)
def test_the_seconds_of_a_run_by_hand(done: int, expected: float) -> None:
    train = tiny("train.iterations=10", "train.validate_every=4").train
    assert Cost(step=2, image=1, teacher_image=0.5).seconds(train, done, val=5, final=7) == expected


def test_a_lost_record_is_made_again_as_it_says(tmp_path: Path, console: Console) -> None:
    folder = tmp_path / "c"
    compare(planned("kd"), folder, console=console)
    before, tables = record(folder), folder / "comparison.json"
    finished = results(folder)
    wrong = [{"runs": None}, {"runs": [3]}, {"runs": [{"folder": 1}]}, {"recipe": []}, {"pixels": 3}]
    for content in ("{", "null", "{}", *(json.dumps({**before, **change}) for change in wrong)):
        tables.write_text(content)
        with pytest.raises(UserError, match=r"comparison.json .*delete it and run the same command again"):
            compare(planned("kd"), folder, console=console)
    tables.unlink()
    (folder / LOGS).mkdir()  # as --jobs 2 leaves it
    with pytest.raises(UserError, match=r"holds no comparison of these --methods and --seeds \(but kd-s0\)"):
        compare(planned("at"), folder, console=console)
    for name in ("comparison.md", "comparison.tex"):  # tables are written again too
        (folder / name).write_text("half")
    compare(planned("kd"), folder, console=console)
    assert record(folder) == before
    assert (folder / "comparison.md").read_text() != "half"
    assert results(folder) == finished


def test_the_runs_of_others_are_no_comparison(tmp_path: Path, console: Console) -> None:
    distill(tiny("baseline=false", "method=none"), tmp_path / "runs/quickstart-none-s0", console=console)
    with pytest.raises(UserError, match=r"holds no comparison of these .* \(but quickstart-none-s0\)"):
        compare(planned("kd"), tmp_path / "runs", console=console)


# Runs beside each other.


def test_jobs_give_the_runs_of_one_after_the_other(tmp_path: Path, console: Console) -> None:
    runs = planned("kd,none", "0,1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as each of the two processes has: sums round differently with more
    try:
        compare(runs, tmp_path / "one", console=console)
        compare(runs, tmp_path / "two", console=console, jobs=2)
    finally:
        torch.set_num_threads(threads)
    assert states(tmp_path / "two") == states(tmp_path / "one") == dict.fromkeys(states(tmp_path / "one"), "finished")
    for name in states(tmp_path / "one"):
        first, second = weights(tmp_path / "one" / name), weights(tmp_path / "two" / name)
        assert all(value.equal(second[key]) for key, value in first.items())
        assert "best on val" in (tmp_path / "two" / "logs" / f"{name}.txt").read_text()
    table = [{key: row[key] for key in ("method", "miou_percent")} for row in record(tmp_path / "one")["table"]]
    assert [{key: row[key] for key in ("method", "miou_percent")} for row in record(tmp_path / "two")["table"]] == table
    assert "kd seed 1: " in said(console)


def test_runs_at_the_same_time_tell_how_far_they_are(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "INTERVAL", 0.02)
    runs = planned("none", "0,1")
    compare(runs, tmp_path / "runs", console=console, jobs=2)
    lines = said(console).splitlines()
    assert f"2 runs at the same time; each writes its lines to {tmp_path / 'runs/logs'}" in lines
    for name in ("none-s0", "none-s1"):
        logged = (tmp_path / "runs/logs" / f"{name}.txt").read_text().splitlines()
        label = name.replace("-s", " seed ")
        shown = [line for line in lines if line.startswith(f"{label} ") and "/6" in line]
        assert shown
        assert set(shown) <= set(logged)


def test_a_run_that_fails_beside_others_is_noted(tmp_path: Path, console: Console) -> None:
    runs = planned("kd,none", "0")
    compare(runs, tmp_path / "runs", console=console)
    shutil.rmtree(tmp_path / "runs" / "none-s0")
    shutil.rmtree(tmp_path / "runs" / "kd-s0")
    more = planned("kd,mine=kd:terms.kd.weight=1e30", "0")
    with pytest.raises(UserError, match=r"1 of 3 runs failed \(mine-s0\)"):
        compare(more, tmp_path / "runs", console=console, jobs=3)
    assert states(tmp_path / "runs")["kd-s0"] == "finished"
    assert "mine seed 0 failed: " in said(console)


def test_a_killed_process_ends_the_comparison_and_fewer_jobs_resume_it(tmp_path: Path, console: Console) -> None:
    folder, runs = tmp_path / "runs", planned(f"kd,mine=none:terms.mine.loss={NAME}:mine", "0")
    with own_module(tmp_path) as file:
        edit(file, "(student - teacher)", "dies() or (student - teacher)")
        file.write_text(
            "import multiprocessing, os\n\n\ndef dies():  # in another process than the first\n"
            f"    return os.kill(os.getpid(), 9) if multiprocessing.parent_process() else 0\n\n\n{file.read_text()}"
        )
        with pytest.raises(UserError, match="one of 2 processes has ended.*; give fewer --jobs: the same command"):
            compare(runs, folder, console=console, jobs=2)
        assert not any("problem" in run for run in record(folder)["runs"])
        compare(runs, folder, console=console)
    assert states(folder) == {"none-s0": "finished", "kd-s0": "finished", "mine-s0": "finished"}
