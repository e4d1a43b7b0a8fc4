"""Steps of each method at equal time or equal operations. This module does not import PyTorch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from segdistill.comparison.method_rows import ALONE
from segdistill.comparison.plan import Plan, PlannedRun
from segdistill.errors import UserError
from segdistill.recipes import Recipe

EQUAL = ("steps", "time", "flops")
UNITS = {"time": "seconds", "flops": "operations"}


@dataclass(frozen=True)
class Equal:
    """What all methods of a comparison have in common.

    Attributes:
        by: ``time`` or ``flops``.
        reference: The row whose run sets the budget. It takes the recipe's number of steps.
    """

    by: str
    reference: str = ALONE


@dataclass(frozen=True)
class Cost:
    """What the steps of a method cost, in seconds or floating-point operations.

    Attributes:
        step: One step, with its share of a first stage.
        once: The work before the first step: the answers of a replayed teacher to all crops.
    """

    step: float
    once: float = 0.0

    def of(self, steps: int) -> float:
        """Return the cost of a run of ``steps`` steps."""
        return self.once + steps * self.step


def check_equal(by: str, reference: str | None, plan: Plan) -> Equal | None:
    """Return what is equal; None for equal steps.

    Raises:
        UserError: Unknown words, a reference that is no row, or one without a use.
    """
    if by not in EQUAL:
        raise UserError(f"--equal: expected {', '.join(EQUAL)}, got '{by}'")
    if by == "steps":
        if reference is not None:
            raise UserError("--reference needs --equal time or --equal flops: at equal steps there is no reference")
        return None
    if reference is not None and reference not in plan.methods:
        raise UserError(f"--reference: expected one of the rows {', '.join(plan.methods)}, got '{reference}'")
    return Equal(by, reference or ALONE)


def steps_within(budget: float, cost: Cost, method: str) -> int:
    """Return the number of steps that a budget pays for.

    Raises:
        UserError: The budget does not pay for one step.
    """
    steps = math.floor((budget - cost.once) / cost.step)
    if steps < 1:
        raise UserError(
            f"method '{method}': the teacher's answers alone take more than the budget of the reference; raise "
            "train.iterations, lower teacher.replay, or give an expensive method with --reference"
        )
    return steps


def equalized(plan: Plan, equal: Equal, steps: Mapping[str, int]) -> Plan:
    """Return the plan at equal time or operations.

    The reference and the student alone keep the recipe's steps under their names. Every other method takes its steps
    under the name ``METHOD@time`` or ``METHOD@flops``, and so does the student alone if it is not the reference: it has
    its longer run too.

    Args:
        plan: The plan at equal steps.
        equal: What is equal.
        steps: The steps of each method.
    """
    runs: list[PlannedRun] = []
    for run in plan.runs:
        if run.method in (equal.reference, ALONE):
            runs.append(run)
        if run.method != equal.reference:
            recipe = with_steps(run.recipe, steps[run.method])
            runs.append(PlannedRun(equal_name(run.method, equal.by), recipe))
    methods = tuple(dict.fromkeys(run.method for run in runs))
    named = {
        label: value
        for name, value in plan.named.items()
        for label in (name, equal_name(name, equal.by))
        if label in methods
    }
    return replace(plan, methods=methods, runs=tuple(runs), named=named)


def rows_at(plan: Plan, equal: Equal | None) -> tuple[str, ...]:
    """Return the names of all rows, before the steps are known."""
    return plan.methods if equal is None else equalized(plan, equal, dict.fromkeys(plan.methods, 1)).methods


def row_of_alone(equal: Equal | None) -> str:
    """Return the row of the student alone to which the differences refer: with its longer run, if it has one."""
    return ALONE if equal is None or equal.reference == ALONE else equal_name(ALONE, equal.by)


def equal_name(method: str, by: str) -> str:
    """Return the name of a method's row at equal time or operations."""
    return f"{method}@{by}"


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """Return the recipe with another number of steps. Its schedule, warm-up and number of validations are scaled."""
    train = recipe.train
    scale = steps / train.iterations
    changes: dict[str, int] = {"iterations": steps}
    if train.warmup:
        changes["warmup"] = min(steps, round(scale * train.warmup))
    if train.validate_every is not None:
        changes["validate_every"] = max(1, math.ceil(scale * train.validate_every))
    return recipe.model_copy(update={"train": train.model_copy(update=changes)})
