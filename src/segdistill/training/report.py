"""Report at the end of a run. It never fails the run: an error is one printed line."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from segdistill.errors import UserError, first_line
from segdistill.reports.html.content import Content, run_content
from segdistill.reports.html.data import Measured
from segdistill.reports.html.page import write_page
from segdistill.system.processes import is_first_process
from segdistill.training.measure import measure
from segdistill.training.session import Session


def report_run(session: Session, folder: Path, console: Console) -> None:
    """Write the report of a finished run. If that fails, print the reason."""
    unless_it_fails(lambda: write_run_report(session, folder), console)


def unless_it_fails(write: Callable[[], Content], console: Console) -> Content | None:
    """Return the content of the report that ``write`` writes; None, and one printed line, if it fails."""
    if not is_first_process():
        return None
    try:
        return write()
    except Exception as error:  # the run is finished and saved: nothing may end it with an error now
        console.print(f"report.html is not written: {first_line(error)}", soft_wrap=True)
        return None


def write_run_report(session: Session | None, folder: Path, missing: str = "") -> Content:
    """Write the report of a run and return its content.

    Args:
        session: The opened recipe of the run; None writes a report without pictures and times.
        folder: The run's folder.
        missing: Why there is no session.

    Raises:
        UserError: The folder holds no run, a result is damaged, or the file cannot be written.
    """
    content = run_content(folder)
    students = {run.method: run.records.folder for run in content.runs if run.records.student_bytes}
    content = run_content(folder, measured_or_not(session, students, folder, missing))
    write_page(content)
    return content


def measured_or_not(
    session: Session | None, students: dict[str, Path], folder: Path, missing: str, *, counts: bool = True
) -> Measured:
    """Return the measurements, or the reason why there are none. See :func:`measure`."""
    if session is None or not students:
        return Measured(missing=(missing or "There is no trained student to draw pictures with.",))
    try:
        return measure(session, students, folder, counts=counts)
    except UserError as error:
        return Measured(missing=(f"There are no pictures: {error}",))
