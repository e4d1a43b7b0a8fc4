"""Report of a comparison, and the lines that end it: how to use the best student, and where the methods differ most."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from segdistill.reports.html.content import ALONE, Content, ShownRun, comparison_content, use_of
from segdistill.reports.html.page import write_page
from segdistill.training.report import measured_or_not
from segdistill.training.session import Session

# The largest number of methods in the pictures, the student alone included.
PICTURED = 7
NAMED = 5


def write_comparison_report(session: Session | None, folder: Path, missing: str = "") -> Content:
    """Write the report of a comparison and return its content.

    Args:
        session: The opened recipe of a run that distills, or of any run; None writes a report without pictures.
        folder: The folder of the comparison.
        missing: Why there is no session.

    Raises:
        UserError: The record of the comparison or a result is damaged, or the file cannot be written.
    """
    content = comparison_content(folder)
    students = {run.method: run.records.folder for run in pictured(content)}
    measured = measured_or_not(session, students, folder, missing, counts=not content.has_pixels)
    measured = replace(measured, left_out=tuple(run.method for run in _by_score(content)[PICTURED:]))
    content = replace(content, measured=measured) if content.has_pixels else comparison_content(folder, measured)
    write_page(content)
    return content


def pictured(content: Content) -> list[ShownRun]:
    """Return the runs in the pictures: the student alone, then the methods with the best scores on val."""
    return _by_score(content)[:PICTURED]


def _by_score(content: Content) -> list[ShownRun]:
    """Return the first finished run of each method: the student alone, then the others, the best on val first."""
    firsts: dict[str, ShownRun] = {}
    for run in content.runs:
        if run.records.result is not None and run.records.student_bytes:
            firsts.setdefault(run.method, run)
    ordered = sorted(firsts, key=lambda method: (method != ALONE, -(content.on_val(method) or 0.0)))
    return [firsts[method] for method in ordered]


def last_lines(content: Content) -> Iterator[str]:
    """Yield how to use the best student of the best method, and the images on which the methods differ most."""
    winner = content.winner
    if winner is not None:
        name = f"the {ALONE}" if winner.method == ALONE else winner.method
        yield f"{name} has the highest mean score on val; to use its best student:"
        yield f"  {use_of(winner.records.folder)}"
    if content.measured.scenes:
        names = ", ".join(scene.name for scene in content.measured.scenes[:NAMED])
        left_out = len(content.measured.left_out)
        which = f"the {PICTURED} students in the pictures, of {PICTURED + left_out}," if left_out else "the methods"
        yield f"{which} differ most on {names}: see report.html"
