"""Networks of finished runs, which figures and reports show side by side."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from segdistill.data import Classes
from segdistill.errors import UserError
from segdistill.training.build import build_trained
from segdistill.training.console import quiet
from segdistill.training.session import Session
from segdistill.training.teacher_runs import use_trained_teachers


def trained_networks(
    session: Session, students: Mapping[str, Path], folder: Path, classes: Classes
) -> tuple[dict[str, nn.Module], nn.Module | None, str]:
    """Build the students of finished runs and their teacher, on the engine's device.

    Args:
        session: The opened recipe.
        students: The folders of the students, by name.
        folder: The folder that holds the trained teacher, if the recipe trains one.
        classes: The classes of the data set.

    Returns:
        The students by name; the teacher, or None; and the reason why a teacher is missing, or an empty text.

    Raises:
        UserError: A student cannot be built.
    """
    with quiet():
        networks = {
            name: session.fabric.to_device(build_trained(session.recipe.student, run, classes))
            for name, run in students.items()
        }
        try:
            use_trained_teachers(session, folder)
            teacher = session.teacher()
        except UserError as error:
            return networks, None, str(error)
    return networks, None if teacher is None else teacher.network, ""
