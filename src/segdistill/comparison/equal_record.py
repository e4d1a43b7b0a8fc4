"""Cost of every method of a comparison, measured once and kept in its folder, and the steps it leads to."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random
from statistics import median, stdev
from typing import Any

import torch
from rich.console import Console

from segdistill.comparison.equal_budget import UNITS, Cost, Equal, steps_within
from segdistill.comparison.plan import Plan, first_runs
from segdistill.comparison.shared_forms import SharedForms
from segdistill.errors import UserError
from segdistill.recipes.own_code import named_code
from segdistill.reports.screen import screen_table
from segdistill.runs.inputs import Inputs, changed_inputs, describe_code
from segdistill.runs.json_files import damaged, read_json
from segdistill.runs.records import environment, write_json
from segdistill.training.console import quiet
from segdistill.training.session import Session
from segdistill.training.trial import Trial, flops

# In each round all methods take a block of steps, in a random order, so that a slow moment of the machine meets all.
BLOCK = 3

# The networks are built several times: their place in memory changes the time of a step by up to a tenth.
BUILDS, LEAST_ROUNDS = 3, 7

# Rounds continue until the standard error of every ratio is below this, or they took this share of the runs' time.
PRECISION, SHARE = 0.01, 0.05

Rounds = dict[str, list[list[float]]]
"""Seconds of a step: for each method and each build, those of the rounds."""


@dataclass(frozen=True)
class EqualRecord:
    """The record ``equal_time.json`` or ``equal_flops.json`` of a comparison.

    Attributes:
        equal: What is equal.
        budget: The cost of the reference's run, in seconds or operations.
        methods: For each method its ``steps``, the cost of one ``step``, the cost ``once`` before the first, and for
            time the seconds of one step in each round of each build, the reference's in the same rounds, the ratio to
            it with its standard error, and the ``forms`` in which the networks ran. ``code`` has the digests of own
            networks and losses, if there are any.
    """

    equal: Equal
    budget: float
    methods: Mapping[str, Mapping[str, Any]]

    @property
    def steps(self) -> dict[str, int]:
        """The steps of each method."""
        return {name: int(method["steps"]) for name, method in self.methods.items()}


def file_of(folder: Path, equal: Equal) -> Path:
    """Return the file of the record in a comparison's folder."""
    return folder / f"equal_{equal.by}.json"


def read_record(folder: Path, equal: Equal, plan: Plan) -> EqualRecord | None:
    """Return the record of a comparison; None if there is none yet.

    A method whose own code has changed since it was measured is left out, so that it is measured again.

    Raises:
        UserError: The file is damaged, or was made with another reference, other code of it or another number of steps.
    """
    file = file_of(folder, equal)
    if not file.exists():
        return None
    record = read_json(file, "reference", "reference_steps", "budget", "methods")
    before = (record["reference"], record["reference_steps"])
    now = (equal.reference, plan.shared.train.iterations)
    if before != now:
        raise UserError(
            f"{file} has the budget of {before[1]} steps of '{before[0]}', not {now[1]} steps of '{now[0]}'; "
            "give another --run-dir"
        )
    methods = record["methods"]
    if not isinstance(methods, dict) or not all(isinstance(each.get("steps"), int) for each in methods.values()):
        raise damaged(file)
    code = code_of_methods(plan)
    changed = {name: changed_inputs(each.get("code", {}), code.get(name, {})) for name, each in methods.items()}
    if changes := changed.get(equal.reference):
        raise UserError(
            f"{file} has the budget of the reference '{equal.reference}' with other code ({'; '.join(changes)}); undo "
            "the change, or give another --run-dir"
        )
    kept = {name: each for name, each in methods.items() if not changed[name]}
    return EqualRecord(equal, float(record["budget"]), kept)


def code_of_methods(plan: Plan) -> dict[str, Inputs]:
    """Return the digests of each method's own networks and losses; methods without are left out."""
    code = {name: describe_code(named_code(run.recipe)) for name, run in first_runs(plan.runs).items()}
    return {name: each for name, each in code.items() if each}


def decide(
    plan: Plan,
    equal: Equal,
    known: EqualRecord | None,
    session: Session,
    forms: SharedForms,
    folder: Path | None,
    console: Console,
) -> EqualRecord:
    """Measure the methods that the record lacks, and return the record with them.

    The first measurement sets the budget. A method added later is measured in turns with the reference, and its
    cost is its ratio to the reference, so that the load of the machine on that day does not count.

    Args:
        plan: The plan at equal steps.
        equal: What is equal.
        known: The record so far.
        session: The opened recipe, whose teacher has weights.
        forms: The forms of the networks. Those of the missing methods are added.
        folder: The folder of the comparison, in which the record is written; None writes nothing.
        console: The console to print on.

    Raises:
        UserError: A method does not get one step.
    """
    old = dict(known.methods) if known is not None else {}
    missing = [method for method in plan.methods if method not in old]
    if known is not None and not missing:
        return known
    console.print(f"measuring the steps of {', '.join(missing)} in {UNITS[equal.by]}", soft_wrap=True)
    names = list(dict.fromkeys((equal.reference, *missing)))
    runs = first_runs(plan.runs)
    sessions = {name: session.variant(runs[name].recipe) for name in names}
    with quiet():
        if equal.by == "time":
            runs_of_each = len(plan.seeds) * plan.shared.train.iterations
            found = seconds_of_methods(sessions, equal.reference, runs_of_each, forms, records=folder is not None)
        else:
            found = flops_of_methods(sessions, equal.reference)
    if session.fabric.device.type == "cuda":
        torch.cuda.empty_cache()  # of the networks that were measured; runs of other processes need the memory
    found = session.fabric.broadcast(found)
    code = code_of_methods(plan)
    for name in found.keys() & code.keys():
        found[name]["code"] = code[name]
    steps = plan.shared.train.iterations
    reference = old.get(equal.reference, found[equal.reference])
    budget = Cost(reference["step"], reference["once"]).of(steps)
    day = reference["step"] / found[equal.reference]["step"]  # the load of the machine at first, to that of today
    for name in missing:
        cost = Cost(found[name]["ratio"] * reference["step"], day * found[name]["once"])
        count = steps if name == equal.reference else steps_within(budget, cost, name)
        old[name] = {"steps": count, "cost": cost.of(count), **found[name], "step": cost.step, "once": cost.once}
    record = EqualRecord(equal, budget, old)
    if folder is not None:
        forms.write(session)
    if folder is not None and session.fabric.global_rank == 0:
        write_json(file_of(folder, equal), _content(record, steps, runs[equal.reference].recipe.seed))
    session.fabric.barrier()
    _show(record, console)
    return record


def seconds_of_methods(
    sessions: Mapping[str, Session], reference: str, steps: int, forms: SharedForms, *, records: bool
) -> dict[str, dict[str, Any]]:
    """Return the cost of each method's step in seconds, from blocks of steps in which the methods take turns.

    A method's cost is the median over the rounds of its ratio to the reference in the same round, times the median of
    the reference. The cost before the first step is the median over the builds.

    Args:
        sessions: The sessions of the methods.
        reference: The method to which the others are compared.
        steps: The reference's steps in all its runs. Measuring takes a small share of the time of such runs.
        forms: The forms of the networks. Those of the methods are added.
        records: Whether a replayed teacher's answers may be recorded.
    """
    rounds: Rounds = {name: [] for name in sessions}
    once: dict[str, list[float]] = {name: [] for name in sessions}
    order, random = list(sessions), Random(0)
    for build in range(BUILDS):
        trials: dict[str, Trial] = {}  # those of the last build are freed
        for name in order:
            trials[name] = Trial(sessions[name], Console(quiet=True), forms.choices, records=records)
            forms.add(trials[name].choice)
            once[name].append(trials[name].once)
            trials[name].seconds(BLOCK)  # the first steps include one-time setup
            rounds[name].append([])
        while not _is_enough(rounds, reference, steps, (build + 1) / BUILDS):
            random.shuffle(order)
            for name in order:
                rounds[name][-1].append(trials[name].seconds(BLOCK) + trials[name].share)
    usual = median(chain(*rounds[reference]))
    return {
        name: {
            "step": median(chain(*ratios)) * usual,
            "once": median(once[name]),
            "ratio": median(chain(*ratios)),
            "ratio_error": standard_error(ratios),
            "first_stage": trials[name].share,
            "rounds": [[round(value, 6) for value in build] for build in rounds[name]],
            "reference_rounds": [[round(value, 6) for value in build] for build in rounds[reference]],
            "forms": trials[name].choice.forms,
        }
        for name, ratios in _ratios(rounds, reference).items()
    }


def standard_error(builds: Sequence[Sequence[float]]) -> float:
    """Return the standard error of the median of all values: the larger of the error within and between builds.

    Within builds, normally distributed values are assumed, and their deviation is computed from the median absolute
    deviation. Between builds, the standard error of the mean of their medians is taken.
    """
    values = list(chain(*builds))
    middle = median(values)
    deviation = 1.4826 * median(abs(value - middle) for value in values)
    within = math.sqrt(math.pi / 2) * deviation / math.sqrt(len(values))
    between = stdev(map(median, builds)) / math.sqrt(len(builds)) if len(builds) > 1 else 0.0
    return max(within, between)


def _is_enough(rounds: Rounds, reference: str, steps: int, share: float) -> bool:
    """Return whether a build has enough rounds: the ratios are known, or measuring has taken its share of the time."""
    if len(rounds[reference][-1]) < LEAST_ROUNDS:
        return False
    if all(standard_error(each) < PRECISION * median(chain(*each)) for each in _ratios(rounds, reference).values()):
        return True
    measured = BLOCK * sum(sum(chain(*builds)) for builds in rounds.values())
    return measured > share * SHARE * steps * sum(median(chain(*builds)) for builds in rounds.values())


def _ratios(rounds: Rounds, reference: str) -> Rounds:
    return {
        name: [
            [own / other for own, other in zip(values, others, strict=True)]
            for values, others in zip(builds, rounds[reference], strict=True)
        ]
        for name, builds in rounds.items()
    }


def flops_of_methods(sessions: Mapping[str, Session], reference: str) -> dict[str, dict[str, Any]]:
    """Return the cost of each method's step in floating-point operations."""
    counted = {name: flops(session) for name, session in sessions.items()}
    usual = counted[reference][0]
    return {name: {"step": step, "once": once, "ratio": step / usual} for name, (step, once) in counted.items()}


def _content(record: EqualRecord, steps: int, seed: int) -> dict[str, Any]:
    """Return the content of the file."""
    return {
        "equal": record.equal.by,
        "unit": UNITS[record.equal.by],
        "reference": record.equal.reference,
        "reference_steps": steps,
        "budget": record.budget,
        "methods": dict(record.methods),
        "environment": environment(seed),
    }


def _show(record: EqualRecord, console: Console) -> None:
    """Print the steps of each method."""
    table = screen_table("method", "steps", "of the reference's step", f"{UNITS[record.equal.by]} in all")
    for name, method in record.methods.items():
        cost = f"{method['cost']:.1f}" if record.equal.by == "time" else f"{method['cost']:.3g}"
        error = f" ± {method['ratio_error']:.3f}" if method.get("ratio_error") else ""
        table.add_row(name, str(method["steps"]), f"x {method['ratio']:.3f}{error}", cost)
    console.print(table)
