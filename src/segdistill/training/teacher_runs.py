"""The trainings of teachers that a recipe asks for."""

from pathlib import Path

from rich.console import Console

from segdistill.errors import UserError
from segdistill.recipes import Recipe, alone_recipe
from segdistill.recipes.schema import Network
from segdistill.training.session import Session
from segdistill.training.train import train_network


def train_teachers(session: Session, folder: Path, console: Console, *, accepts_changes: bool = False) -> None:
    """Train each teacher that has no weights yet, in ``teacher/`` or ``teachers/NAME/``, and use them in the session.

    Raises:
        UserError: See :func:`train_network`.
    """
    section = session.recipe.teacher
    if section is None or section.is_trained:
        return
    ready = dict(section.each)
    for name, (place, recipe) in teacher_runs(session.recipe).items():
        own = session.variant(recipe)
        train_network(own, folder / place, console=console, label=name, accepts_changes=accepts_changes)
        ready[name] = ready[name].model_copy(update={"weights": str(folder / place), "train": None})
    session.use_teacher(section.model_copy(update={"members": ready}) if section.members else ready["teacher"])


def teacher_runs(recipe: Recipe) -> dict[str, tuple[str, Recipe]]:
    """Return the teachers that have yet to be trained, by name: the folder beneath the run's, and the recipe."""
    if recipe.teacher is None:
        return {}
    return {
        name: (f"teachers/{name}" if recipe.teacher.members else "teacher", teacher_recipe(recipe, name))
        for name, teacher in recipe.teacher.each.items()
        if teacher.train is not None
    }


def teacher_recipe(recipe: Recipe, name: str = "teacher") -> Recipe:
    """Return the recipe that trains the teacher, or one of several, as a student of its own."""
    if recipe.teacher is None:
        raise UserError(f"recipe '{recipe.name}' has no teacher to train")
    if name not in recipe.teacher.each:
        raise UserError(f"there are several teachers, {', '.join(recipe.teacher.each)}; train each by its own recipe")
    teacher = recipe.teacher.each[name]
    network = Network(**{name: getattr(teacher, name) for name in Network.model_fields})
    # Members of one architecture would otherwise be one and the same network.
    seed = (recipe.seed + list(recipe.teacher.each).index(name)) % 2**32
    own = alone_recipe(recipe)
    terms = {term_name: term.of_teacher() for term_name, term in own.terms.items()}
    changes = {"student": network, "train": teacher.train or recipe.train, "seed": seed, "terms": terms}
    return own.model_copy(update=changes)


def check_teacher(recipe: Recipe) -> None:
    """Refuse a recipe that distills from a teacher without weights that is not trained first.

    Raises:
        UserError: There is no teacher, or nothing to fill it with.
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
                f"{key}.weights is not set, and random weights teach nothing: give {key}.weights=FILE, or have the "
                f"teacher trained first with {key}.train.iterations=NUMBER"
            )
