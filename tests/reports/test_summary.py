"""The tables of a comparison, from records by hand."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segdistill.errors import UserError
from segdistill.reports.summary import Entry, Summary, summarize

PIXELS = {"pole": 40, "road": 7400, "car": 50, "sky": 2500, "sign": 10}
RECIPE: dict[str, Any] = {
    "name": "mine",
    "seed": 3,
    "student": {"model": "small_net"},
    "teacher": {"model": "large_net", "train": {"iterations": 9}, "weights": None},
    "train": {"iterations": 6, "batch_size": 4},
    "data": {"name": "scenes", "root": None, "scale": 1.0, "crop": [32, 32]},
}
TEACHER = {"miou": 0.6, "iou": {"road": 0.9, "sky": 0.7, "car": 0.5, "pole": 0.3, "sign": None}, "params": 5_000_000}


def record(folder: Path, name: str, miou: float, seconds: float, **iou: float | None) -> None:
    (folder / name).mkdir(parents=True)
    classes: dict[str, float | None] = {"road": miou, "sky": miou, "car": miou, "pole": miou, "sign": None, **iou}
    result = {"miou": miou, "iou": classes, "split": "test", "params": 2_000_000, "seconds": seconds, "val_miou": 0.1}
    if not name.startswith("none"):
        result["teacher"] = TEACHER
    (folder / name / "result.json").write_text(json.dumps(result))
    machine = {"commit": "abc", "gpus": ["H200"], "cpu_cores": 8, "torch_threads": 4}
    (folder / name / "environment.json").write_text(json.dumps(machine))


def summary(folder: Path, methods: list[str], seeds: list[int], **more: Any) -> Summary:
    entries = [Entry(method, seed, folder / f"{method}-s{seed}") for method in methods for seed in seeds]
    return summarize(entries, RECIPE, PIXELS, **more)


def rows(compared: Summary, part: str = "table") -> dict[str, dict[str, Any]]:
    listed = compared.record()[part]
    return {row["method" if part == "table" else "class"]: row for row in listed}


@pytest.fixture
def three_of_four(tmp_path: Path) -> Path:
    """The student alone with two seeds, and a method with one of them, worse on roads and better on poles."""
    record(tmp_path, "none-s0", 0.40, 10)
    record(tmp_path, "none-s1", 0.50, 20)
    record(tmp_path, "kd-s1", 0.53, 30, road=0.2, pole=0.7)
    return tmp_path


def test_differences_are_paired_by_seed(three_of_four: Path) -> None:
    found = rows(summary(three_of_four, ["none", "kd"], [0, 1]))
    assert found["none"]["miou_percent"]["mean"] == pytest.approx(45)
    assert found["none"]["miou_percent"]["std"] == pytest.approx(50**0.5)  # (-5)^2 + 5^2 over 1
    assert found["none"]["gain_points"] is None
    # Of means over all seeds the gain would be 53 - 45 = 8 and the ratio 30 / 15 = 2.
    assert found["kd"]["gain_points"]["values"] == [pytest.approx(3)]
    assert found["kd"]["seconds_ratio"] == pytest.approx(1.5)
    assert found["kd"]["to_teacher_points"]["mean"] == pytest.approx(-7)
    assert [found[name]["seeds"] for name in ("none", "kd")] == ["2 of 2", "1 of 2"]
    assert found["kd"]["parameters_millions"] == 2
    assert (found["teacher"]["miou_percent"]["mean"], found["teacher"]["parameters_millions"]) == (60, 5)


def test_a_class_that_counts_in_some_runs_alone_is_warned_of(three_of_four: Path) -> None:
    assert summary(three_of_four, ["none", "kd"], [0, 1]).warnings == ()
    record(three_of_four, "kd-s0", 0.41, 40, pole=None)
    (warning,) = summary(three_of_four, ["none", "kd"], [0, 1]).warnings
    assert warning.startswith("the labels have no pixel of pole, which counts as 0 in the runs that predict it")


def test_the_ratio_of_seconds_is_that_of_their_sums(three_of_four: Path) -> None:
    record(three_of_four, "kd-s0", 0.41, 40)  # ratios 4 and 1.5, whose mean is 2.75
    found = rows(summary(three_of_four, ["none", "kd"], [0, 1]))
    assert (found["none"]["seconds"], found["kd"]["seconds"]) == (15, 35)
    assert found["kd"]["seconds_ratio"] == pytest.approx(35 / 15)


def test_at_equal_time_a_row_has_both_gains_and_its_steps(three_of_four: Path) -> None:
    record(three_of_four, "none@time-s1", 0.51, 45)
    for name, steps in {"none-s0": 100, "none-s1": 100, "none@time-s1": 150, "kd-s1": 100}.items():
        file = three_of_four / name / "result.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "iterations": steps}))
    found = rows(summary(three_of_four, ["none", "none@time", "kd"], [0, 1], against="none@time"))
    assert found["kd"]["gain_points"]["mean"] == pytest.approx(3)
    assert found["kd"]["gain_over_row_points"]["mean"] == pytest.approx(2)
    assert found["none@time"]["gain_points"]["mean"] == pytest.approx(1)
    assert found["none@time"]["gain_over_row_points"] is None
    assert {name: row["steps"] for name, row in found.items()} == {
        "none": 100, "none@time": 150, "kd": 100, "teacher": None,
    }  # fmt: skip


def test_at_equal_steps_there_are_neither_steps_nor_a_second_gain(three_of_four: Path) -> None:
    for name in ("none-s0", "none-s1", "kd-s1"):
        file = three_of_four / name / "result.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "iterations": 100}))
    found = rows(summary(three_of_four, ["none", "kd"], [0, 1]))
    assert not {"steps", "gain_over_row_points"} & set(found["kd"])


def test_common_and_rare_classes_by_hand(three_of_four: Path) -> None:
    found = rows(summary(three_of_four, ["none", "kd"], [0, 1]))
    assert found["kd"]["common_percent"]["mean"] == pytest.approx((20 + 53) / 2)
    assert found["kd"]["rare_percent"]["mean"] == pytest.approx((53 + 70) / 2)  # the sign is nowhere to be seen
    assert found["teacher"]["common_percent"]["mean"] == pytest.approx(80)
    assert found["teacher"]["rare_percent"]["mean"] == pytest.approx(40)


def test_the_classes_stand_by_frequency_with_their_group(three_of_four: Path) -> None:
    found = rows(summary(three_of_four, ["none", "kd"], [0, 1]), "classes")
    assert list(found) == ["road", "sky", "car", "pole", "sign"]
    assert [row["group"] for row in found.values()] == ["common", "common", "rare", "rare", "rare"]
    assert found["sky"]["share_percent"] == 25
    assert found["road"]["none"]["mean"] == pytest.approx(45)
    assert found["road"]["kd"]["mean"] == pytest.approx(20)
    assert found["pole"]["teacher"] == pytest.approx(30)
    assert found["sign"]["none"] is None


def test_a_teacher_below_the_student_alone_is_said(three_of_four: Path) -> None:
    assert summary(three_of_four, ["none", "kd"], [0, 1]).warnings == ()
    for file in three_of_four.glob("none-s*/result.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "miou": 0.625}))
    compared = summary(three_of_four, ["none", "kd"], [0, 1])
    (warning,) = compared.warnings
    assert warning.startswith("the teacher, with 60.0 mIoU, is below the student alone, with 62.5: ")
    assert f"* {warning}\n" in compared.files()["comparison.md"]


def test_what_is_missing_is_named_with_its_reason(three_of_four: Path) -> None:
    (three_of_four / "gskd-s0" / "checkpoints").mkdir(parents=True)
    (three_of_four / "gskd-s0" / "checkpoints" / "last.pt").touch()
    entries = [Entry(method, seed, three_of_four / f"{method}-s{seed}") for method in ("none", "kd", "gskd")
               for seed in (0, 1)]  # fmt: skip
    entries[-1] = Entry("gskd", 1, three_of_four / "gskd-s1", "the total loss is nan")
    compared = summarize(entries, RECIPE, PIXELS)
    assert compared.missing == ("kd-s0: not begun", "gskd-s0: begun", "gskd-s1: failed: the total loss is nan")
    written = compared.files()
    assert "gskd-s1: failed: the total loss is nan" in written["comparison.md"]
    assert "| gskd | 0 of 2 | - |" in written["comparison.md"]
    states = {run["folder"]: run["state"] for run in compared.record()["runs"]}
    assert states == {"none-s0": "finished", "none-s1": "finished", "kd-s0": "unfinished", "kd-s1": "finished",
                      "gskd-s0": "unfinished", "gskd-s1": "failed"}  # fmt: skip


def test_the_planned_seeds_are_those_of_each_method(three_of_four: Path) -> None:
    planned = {"none": (0, 1), "kd": (1,), "at": (0, 1, 2)}
    entries = [
        Entry(name, seed, three_of_four / f"{name}-s{seed}") for name, seeds in planned.items() for seed in seeds
    ]
    found = rows(summarize(entries, RECIPE, PIXELS))
    assert [found[name]["seeds"] for name in planned] == ["2 of 2", "1 of 1", "0 of 3"]


def test_one_of_a_thing_has_no_plural(three_of_four: Path) -> None:
    assert summary(three_of_four, ["none"], [0]).title == "mine: 1 method, 1 seed"
    assert summary(three_of_four, ["none", "kd"], [0, 1]).title == "mine: 2 methods, 2 seeds"


def test_it_says_what_it_is(three_of_four: Path) -> None:
    record(three_of_four, "kd-s0", 0.4, 10)
    machine = json.loads((three_of_four / "kd-s0/environment.json").read_text())
    (three_of_four / "kd-s0/environment.json").write_text(json.dumps({**machine, "commit": "def"}))
    said = summary(three_of_four, ["none", "kd"], [0, 1]).files()["comparison.md"]
    for fact in ("recipe mine", "small_net", "large_net, trained here for 9 steps, seed 3", "6 steps of 4 images",
                 "seeds 0, 1",
                     "data scenes at 1 of its size, crops of 32x32, scored on test",
                     "commit abc, def", "H200, 8 CPU cores"):  # fmt: skip
        assert fact in said, fact


def test_published_values_stand_beside_only_where_there_are_any(three_of_four: Path) -> None:
    plain = summary(three_of_four, ["none", "kd"], [0, 1])
    assert "published" not in plain.files()["comparison.csv"]
    value, other, empty = (SimpleNamespace(paper="GSKD", table="2", score=score) for score in (68.154, 69.84, None))
    again = SimpleNamespace(paper="GSKD", table="9", score=68.154)
    printed = {"none": [empty], "kd": [value, other, again], "teacher": [other]}
    found = rows(summary(three_of_four, ["none", "kd"], [0, 1], published=printed))
    assert found["kd"]["published"] == "68.15 (GSKD, tables 2, 9); 69.84 (GSKD, table 2)"
    assert found["none"]["published"] is None
    assert found["teacher"]["published"] == "69.84 (GSKD, table 2)"


def test_nothing_yet_is_a_table_too(tmp_path: Path) -> None:
    compared = summary(tmp_path, ["none", "kd"], [0])
    assert "| kd | 0 of 1 | - |" in compared.files()["comparison.md"]
    assert "scored on (nothing yet)" in compared.files()["comparison.md"]


def test_a_damaged_record_is_named(three_of_four: Path) -> None:
    (three_of_four / "kd-s1/result.json").write_text("{")
    with pytest.raises(UserError, match=r"kd-s1/result.json is damaged"):
        summary(three_of_four, ["none", "kd"], [0, 1])
