"""What the student alone is: the fair baseline of every command."""

from typing import Any

from segdistill.catalogue.methods import terms_of
from segdistill.catalogue.terms import complete
from segdistill.recipes.schema import Recipe, TermRecipe
from segdistill.recipes.terms import own_part


def alone_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe of the student alone: this one without its distillation terms.

    Data, budget and seed are the same, and so is what the user says of the task: its loss, hyper-parameters, labels and
    weight, and further terms that need no teacher. What the method itself sets of the task, as AICSD's schedule, goes
    with the method. Pixels are not left out for a teacher that errs there, and a task of weight 0, which distils
    without labels, has its own weight, or nothing would be trained.
    """
    given = terms_of(recipe.method, recipe.methods)
    task = own_part("task", recipe.terms["task"].model_dump(), given.get("task", {})) if "task" in recipe.terms else {}
    kept = {"task": TermRecipe.model_validate(complete("task", _without_teacher(task)))}
    kept |= {
        name: term
        for name, term in recipe.terms.items()
        if name != "task" and name not in given and name not in recipe.distillation
    }
    return recipe.model_copy(update={"teacher": None, "terms": kept, "method": "none", "baseline": False})


def _without_teacher(task: dict[str, Any]) -> dict[str, Any]:
    needless = {key for key, value in (("labels", "teacher_correct"), ("weight", 0)) if task.get(key) == value}
    return {key: value for key, value in task.items() if key not in needless}
