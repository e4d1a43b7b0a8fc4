"""Training of the teachers that a recipe has with ``teacher.train``."""

from pathlib import Path

from rich.console import Console

from segdistill.errors import UserError
from segdistill.recipes import Recipe, alone_recipe
from segdistill.recipes.schema import Network
from segdistill.training.session import Session
from segdistill.training.train import train_network


def train_teachers(session: Session, folder: Path, console: Console, *, accepts_changes: bool = False) -> None:
    """Train each teacher with a ``train`` section, in ``teacher/`` or ``teachers/NAME/``. The session then uses them.

    Raises:
        UserError: See :func:`train_network`.
    """
    section = session.recipe.teacher
    if section is None or section.is_trained:
        return
    for name, (subfolder, recipe) in teacher_runs(session.recipe).items():
        variant = session.variant(recipe)
        train_network(variant, folder / subfolder, console=console, label=name, accepts_changes=accepts_changes)
    use_trained_teachers(session, folder)


def use_trained_teachers(session: Session, folder: Path) -> None:
    """Let the session use the teachers that were trained in the subfolders of ``folder``, if its recipe trains any."""
    section = session.recipe.teacher
    if section is None or section.is_trained:
        return
    ready = dict(section.each)
    for name, (subfolder, _) in teacher_runs(session.recipe).items():
        ready[name] = ready[name].model_copy(update={"weights": str(folder / subfolder), "train": None})
    session.use_teacher(section.model_copy(update={"members": ready}) if section.members else ready["teacher"])


def teacher_runs(recipe: Recipe) -> dict[str, tuple[str, Recipe]]:
    """Return, by name, the teachers that are still to be trained: the folder within the run's, and the recipe."""
    if recipe.teacher is None:
        return {}
    return {
        name: (f"teachers/{name}" if recipe.teacher.members else "teacher", teacher_recipe(recipe, name))
        for name, teacher in recipe.teacher.each.items()
        if teacher.train is not None
    }


def teacher_recipe(recipe: Recipe, name: str = "teacher") -> Recipe:
    """Return the recipe that trains a teacher by itself, in the role of the student."""
    if recipe.teacher is None:
        raise UserError(f"recipe '{recipe.name}' has no teacher to train")
    if name not in recipe.teacher.each:
        names = ", ".join(recipe.teacher.each)
        raise UserError(f"recipe '{recipe.name}' has several teachers ({names}); train each with a separate recipe")
    teacher = recipe.teacher.each[name]
    network = Network(**{name: getattr(teacher, name) for name in Network.model_fields})
    # With the same seed, members of one architecture would become identical networks.
    seed = (recipe.seed + list(recipe.teacher.each).index(name)) % 2**32
    alone = alone_recipe(recipe)
    terms = {term_name: term.of_teacher() for term_name, term in alone.terms.items()}
    changes = {"student": network, "train": teacher.train or recipe.train, "seed": seed, "terms": terms}
    return alone.model_copy(update=changes)


def check_teacher(recipe: Recipe) -> None:
    """Check that a recipe which distills has a teacher with weights or with a ``train`` section.

    Raises:
        UserError: If it has no teacher, or a teacher has neither.
    """
    teacher = recipe.teacher
    if not recipe.distils:
        return
    if teacher is None:
        raise UserError(f"method '{recipe.method}' needs a teacher: give teacher.model and teacher.weights")
    for name, each in teacher.each.items():
        if each.train is None and each.weights is None:
            key = f"teacher.members.{name}" if teacher.members else "teacher"
            raise UserError(
                f"{key}.weights is not set, and random weights teach nothing: give {key}.weights=FILE, or train "
                f"the teacher first with {key}.train.iterations=NUMBER"
            )
