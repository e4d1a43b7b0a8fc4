"""The report of a comparison: methods that have no place in it are named."""

from pathlib import Path

import pytest

from segdistill.comparison import report as module
from segdistill.comparison.report import last_lines, pictured, write_comparison_report
from segdistill.reports.html.content import comparison_content
from tests.reports.html.folders import measured, scene, write_comparison
from tests.reports.html.parsed import check

NOTE = "Pictures and times leave out methods with lower scores on val: method 1, method 0."


def scores(methods: int) -> dict[str, list[float]]:
    return {"none": [0.4], **{f"method {number}": [0.5 + number / 100] for number in range(methods)}}


def test_the_student_alone_and_the_best_methods_are_pictured(tmp_path: Path) -> None:
    runs = pictured(comparison_content(write_comparison(tmp_path / "c", scores(8))))
    assert [run.method for run in runs] == ["student alone", *(f"method {number}" for number in range(7, 1, -1))]


@pytest.mark.parametrize("methods", [6, 8])
def test_methods_that_are_left_out_are_named(tmp_path: Path, methods: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "measured_or_not", lambda *_, **__: measured(scene("first"), scene("second")))
    folder = write_comparison(tmp_path / "c", scores(methods))
    content = write_comparison_report(None, folder)
    root = check((folder / "report.html").read_text(encoding="utf-8"))
    notes = [each.words() for each in root.all("p") if NOTE in each.words()]
    assert notes == ([f"shown {NOTE}", f"timed {NOTE}"] if methods == 8 else [])  # below the pictures, and the costs
    which = "the 7 students in the pictures, of 9," if methods == 8 else "the methods"
    assert list(last_lines(content))[-1] == f"{which} differ most on first, second: see report.html"


def test_without_pictures_and_times_no_method_is_left_out_of_them(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path / "c", scores(8))
    write_comparison_report(None, folder, "There are no pictures.")
    assert "leave out methods" not in (folder / "report.html").read_text(encoding="utf-8")
