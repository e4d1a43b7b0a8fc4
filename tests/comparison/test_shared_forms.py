"""All runs of a comparison have the same form of the student: a choice by noise would make equal runs unequal."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from segdistill.comparison.compare import compare
from segdistill.comparison.equal_budget import Equal
from segdistill.comparison.plan import plan
from segdistill.comparison.search import search
from segdistill.comparison.sweep import sweep
from segdistill.errors import UserError
from segdistill.recipes import load
from segdistill.speed.form import Form
from segdistill.training import forms
from segdistill.training.run import distill
from tests.tiny import TINY, said


@pytest.fixture(autouse=True)
def noise(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Make another form the fastest in each measurement. Return what was measured."""
    measured, number = [], count()

    def seconds_of(work: dict[Form, Callable[[], object]], *_: Any, **__: Any) -> dict[Form, float]:
        measured.append(list(work))
        best = list(work)[next(number) % len(work)]
        return {form: 1.0 if form == best else 2.0 for form in work}

    monkeypatch.setattr(forms, "LEAST_STEPS", 1)
    monkeypatch.setattr(forms, "seconds_of", seconds_of)
    return measured


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the records of the students' runs, by folder."""
    files = (file for file in folder.rglob("speed.json") if "teacher" not in file.parts)
    return {str(file.parent.relative_to(folder)): json.loads(file.read_text()) for file in files}


def forms_of(folder: Path) -> set[str]:
    """Return the students' forms in the runs of a folder, as texts."""
    return {json.dumps(record["student"]) for record in records(folder).values() if "student" in record}


def run(folder: Path, methods: str, seeds: str, console: Console, **options: Any) -> None:
    compare(plan("quickstart", TINY, methods, seeds), folder, console=console, **options)


def test_all_runs_of_a_comparison_have_one_form_also_those_that_are_added(
    tmp_path: Path, console: Console, noise: list[Any]
) -> None:
    run(tmp_path / "c", "kd,gskd", "0,1", console)
    noise.clear()
    run(tmp_path / "c", "kd,dist,gskd", "0,1,2", console)
    assert not noise  # dist reads the teacher's logits, as kd does
    runs = records(tmp_path / "c")
    assert len(runs) == 4 * 3 + 1  # and the comparison's own
    assert len(forms_of(tmp_path / "c")) == 1
    teachers = {name: json.dumps(runs[f"{name}-s{seed}"]["teacher"]) for name in ("kd", "dist") for seed in range(3)}
    assert len(set(teachers.values())) == 1
    assert said(console).count("student runs") == 2  # the teacher's training has its own
    record = json.loads((tmp_path / "c" / "comparison.json").read_text())
    students = {str(each["forms"]["student"]) for each in record["runs"]}
    assert students == {str([word for word, is_true in runs["kd-s0"]["student"]["form"].items() if is_true])}
    assert [sorted(each["forms"]) for each in record["runs"] if each["seed"] == 0] == [
        ["student"], ["student", "teacher"], ["student", "teacher"], ["student", "teacher"],
    ]  # fmt: skip


def test_runs_at_the_same_time_have_one_form(tmp_path: Path, console: Console) -> None:
    run(tmp_path / "c", "kd", "0,1", console, jobs=2)
    assert len(records(tmp_path / "c")) == 5
    assert len(forms_of(tmp_path / "c")) == 1


def test_a_method_that_is_added_at_equal_time_has_the_forms_of_the_others(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    for methods in ("kd", "kd,dist"):
        run(tmp_path / "c", methods, "0", console, equal=Equal("flops"))
    assert {"none-s0", "kd_flops-s0", "dist_flops-s0"} <= {name.replace("@", "_") for name in records(tmp_path / "c")}
    assert len(forms_of(tmp_path / "c")) == 1


def test_a_row_with_smaller_passes_has_its_own_form(tmp_path: Path, console: Console) -> None:
    run(tmp_path / "c", "kd,parts=kd:train.accumulate=2", "0", console)
    runs = records(tmp_path / "c")
    assert runs["none-s0"]["student"] == runs["kd-s0"]["student"] != runs["parts-s0"]["student"]


def test_the_student_alone_has_the_form_of_the_distilled_one(tmp_path: Path, console: Console) -> None:
    distill(load("quickstart", [*TINY, "baseline=true"]), tmp_path / "run", console=console)
    assert set(records(tmp_path / "run")) == {".", "alone"}
    assert len(forms_of(tmp_path / "run")) == 1


def test_all_trials_of_a_sweep_have_one_form(tmp_path: Path, console: Console) -> None:
    pytest.importorskip("optuna")
    found = search("quickstart", TINY, ["terms.gskd.weight=1,2"])
    sweep(found, tmp_path / "s", trials=2, console=console)
    assert set(records(tmp_path / "s")) == {"alone", "trial-000", "trial-001"}
    assert len(forms_of(tmp_path / "s")) == 1


def no_memory(*_: Any, **__: Any) -> Any:
    raise RuntimeError("CUDA out of memory")


def test_a_measurement_that_fails_ends_no_other_run(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only kd has a teacher, and asks for memory for it."""
    monkeypatch.setattr(forms, "_teacher", lambda distiller, *_: distiller.teacher and no_memory())
    with pytest.raises(UserError, match="1 of 2 runs failed"):
        run(tmp_path / "c", "kd", "0", console)
    assert "CUDA out of memory" in said(console)
    assert (tmp_path / "c" / "none-s0" / "result.json").exists()


def test_a_damaged_record_is_named(tmp_path: Path, console: Console) -> None:
    run(tmp_path / "c", "kd", "0", console)
    (tmp_path / "c" / "speed.json").write_text("{}")
    with pytest.raises(UserError, match=r"speed\.json has no 'choices'; delete it and run the same command again"):
        run(tmp_path / "c", "kd", "0", console)
