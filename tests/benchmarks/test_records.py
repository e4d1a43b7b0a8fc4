"""A figure is worse if it changed for the worse by more than the spread of either run."""

from pathlib import Path

import pytest

from benchmarks import records
from benchmarks.timing import Figure, ratio

OLD = Figure(1.00, 0.98, 1.03)


@pytest.mark.parametrize(
    ("now", "is_worse"),
    [
        (Figure(1.06, 1.05, 1.07), True),
        (Figure(1.04, 1.03, 1.05), False),  # within the spread of the stored run
        (Figure(1.10, 1.00, 1.20), False),  # within the spread of this run
        (Figure(0.50, 0.49, 0.51), False),
    ],
)
def test_less_is_better(now: Figure, is_worse: bool) -> None:
    lines = records.worse({"step": {"kd": OLD}}, {"step": {"kd": now}})
    assert bool(lines) is is_worse
    assert all(line == "WORSE step: kd: 1.06, was 1" for line in lines)


def test_more_items_are_better() -> None:
    (section,) = records.MORE_IS_BETTER
    assert records.worse({section: {"CamVid": OLD}}, {section: {"CamVid": Figure(0.9, 0.89, 0.91)}})
    assert not records.worse({section: {"CamVid": OLD}}, {section: {"CamVid": Figure(1.1, 1.09, 1.11)}})


def test_a_count_has_no_spread() -> None:
    assert records.worse({"waits": {"gskd": Figure(2, 2, 2)}}, {"waits": {"gskd": Figure(3, 3, 3)}})
    assert not records.worse({"waits": {"gskd": Figure(2, 2, 2)}}, {"waits": {"gskd": Figure(2, 2, 2)}})


def test_a_figure_without_a_stored_one_is_not_compared() -> None:
    assert records.worse({}, {"step": {"kd": OLD}}) == []


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    about = {"device": "cpu", "hardware": "a processor", "threads": 2}
    records.write(tmp_path / "cpu.json", about, {"step": {"kd": OLD}})
    assert records.read(tmp_path / "cpu.json") == (about, {"step": {"kd": OLD}})


def test_each_kind_of_machine_has_a_file() -> None:
    files = [
        records.record_file({"device": device, "hardware": "NVIDIA H200"}, sizes).name
        for device, sizes in (("cpu", ""), ("cpu", "full"), ("cuda", ""))
    ]
    assert files == ["cpu.json", "cpu-full.json", "nvidia-h200.json"]


def test_a_ratio_is_taken_round_by_round() -> None:
    assert ratio([2.0, 8.0, 3.0], [1.0, 2.0, 1.0]) == Figure(3.0, 2.0, 4.0)
    assert ratio([1.0], [4.0], 100) == Figure(25.0, 25.0, 25.0)
