"""Recipe of the student alone, the baseline of every command."""

from typing import Any

from segdistill.catalogue.methods import terms_of
from segdistill.catalogue.terms import complete
from segdistill.recipes.schema import Recipe, TermRecipe
from segdistill.recipes.terms import own_part


def alone_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe of the student alone: this recipe without its distillation terms.

    Data, budget and seed are the same. The user's settings of the task (loss, hyperparameters, labels, weight) and
    further terms that need no teacher are kept. Settings of the task that belong to the method, such as AICSD's
    schedule, are removed with it. Two settings of the user are reset to their defaults: ``labels: teacher_correct``,
    because there is no teacher, and ``weight: 0`` (distillation without labels), because nothing would be trained.
    """
    given = terms_of(recipe.method, recipe.methods)
    task = own_part("task", recipe.terms["task"].model_dump(), given.get("task", {})) if "task" in recipe.terms else {}
    terms = {"task": TermRecipe.model_validate(complete("task", _without_teacher(task)))}
    terms |= {
        name: term
        for name, term in recipe.terms.items()
        if name != "task" and name not in given and name not in recipe.distillation
    }
    return recipe.model_copy(update={"teacher": None, "terms": terms, "method": "none", "baseline": False})


def _without_teacher(task: dict[str, Any]) -> dict[str, Any]:
    reset = {key for key, value in (("labels", "teacher_correct"), ("weight", 0)) if task.get(key) == value}
    return {key: value for key, value in task.items() if key not in reset}
