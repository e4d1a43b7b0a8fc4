"""Cost of every method of a comparison, measured once and kept in its folder, and the steps it leads to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from segdistill.comparison.equal_budget import UNITS, Cost, Equal, first_runs, steps_within
from segdistill.comparison.plan import Plan
from segdistill.errors import UserError
from segdistill.reports.screen import screen_table
from segdistill.runs.json_files import damaged, read_json
from segdistill.runs.records import environment, write_json
from segdistill.training.console import quiet
from segdistill.training.session import Session
from segdistill.training.trial import Trial, flops

# All methods take a block of steps in turn, in each round, so that a slow moment of the machine meets all.
ROUNDS, BLOCK = 7, 3


@dataclass(frozen=True)
class EqualRecord:
    """The record ``equal_time.json`` or ``equal_flops.json`` of a comparison.

    Attributes:
        equal: What is equal.
        budget: The cost of the reference's run, in seconds or operations.
        methods: For each method its ``steps``, the cost of one ``step``, the cost ``once`` before the first, and for
            time the seconds of one step in each round, the reference's in the same rounds and the ``forms`` in which
            the networks ran.
    """

    equal: Equal
    budget: float
    methods: Mapping[str, Mapping[str, Any]]

    @property
    def steps(self) -> dict[str, int]:
        """The steps of each method."""
        return {name: int(method["steps"]) for name, method in self.methods.items()}

    def forms(self, method: str) -> Mapping[str, Any] | None:
        """Return the forms of a method's networks in all its runs; None if they were not measured."""
        found: Mapping[str, Any] | None = self.methods.get(method.removesuffix(f"@{self.equal.by}"), {}).get("forms")
        return found


def file_of(folder: Path, equal: Equal) -> Path:
    """Return the file of the record in a comparison's folder."""
    return folder / f"equal_{equal.by}.json"


def read_record(folder: Path, equal: Equal, plan: Plan) -> EqualRecord | None:
    """Return the record of a comparison; None if there is none yet.

    Raises:
        UserError: The file is damaged, or was made with another reference or number of steps.
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
    return EqualRecord(equal, float(record["budget"]), methods)


def decide(
    plan: Plan, equal: Equal, known: EqualRecord | None, session: Session, folder: Path | None, console: Console
) -> EqualRecord:
    """Measure the methods that the record lacks, and return the record with them.

    The first measurement sets the budget. A method added later is measured in turns with the reference, and its
    cost is its ratio to the reference, so that the load of the machine on that day does not count.

    Args:
        plan: The plan at equal steps.
        equal: What is equal.
        known: The record so far.
        session: The opened recipe, whose teacher has weights.
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
    runs = first_runs(plan, names)
    sessions = {name: session.variant(runs[name].recipe) for name in names}
    with quiet():
        if equal.by == "time":
            found = seconds_of_methods(sessions, equal.reference, records=folder is not None)
        else:
            found = flops_of_methods(sessions, equal.reference)
    found = session.fabric.broadcast(found)
    steps = plan.shared.train.iterations
    reference = old.get(equal.reference, found[equal.reference])
    budget = Cost(reference["step"], reference["once"]).of(steps)
    for name in missing:
        cost = Cost(found[name]["ratio"] * reference["step"], found[name]["once"])
        count = steps if name == equal.reference else steps_within(budget, cost, name)
        old[name] = {"steps": count, "cost": cost.of(count), **found[name], "step": cost.step}
    record = EqualRecord(equal, budget, old)
    if folder is not None and session.fabric.global_rank == 0:
        write_json(file_of(folder, equal), _content(record, steps, runs[equal.reference].recipe.seed))
    session.fabric.barrier()
    _show(record, console)
    return record


def seconds_of_methods(sessions: Mapping[str, Session], reference: str, *, records: bool) -> dict[str, dict[str, Any]]:
    """Return the cost of each method's step in seconds, from blocks of steps in which the methods take turns.

    A method's cost is the median over the rounds of its ratio to the reference in the same round, times the median of
    the reference. ``records`` is whether a replayed teacher's answers may be recorded.
    """
    trials = {name: Trial(session, Console(quiet=True), records=records) for name, session in sessions.items()}
    for trial in trials.values():
        trial.seconds(BLOCK)  # the first steps include one-time setup
    rounds: dict[str, list[float]] = {name: [] for name in trials}
    for number in range(ROUNDS):
        order = list(trials)[:: 1 if number % 2 == 0 else -1]
        for name in order:
            rounds[name].append(trials[name].seconds(BLOCK) + trials[name].share)
    usual = median(rounds[reference])
    ratios = {
        name: median(own / other for own, other in zip(values, rounds[reference], strict=True))
        for name, values in rounds.items()
    }
    return {
        name: {
            "step": ratios[name] * usual,
            "once": trials[name].once,
            "ratio": ratios[name],
            "first_stage": trials[name].share,
            "rounds": [round(value, 6) for value in values],
            "reference_rounds": [round(value, 6) for value in rounds[reference]],
            "forms": trials[name].forms,
        }
        for name, values in rounds.items()
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
        table.add_row(name, str(method["steps"]), f"x {method['ratio']:.2f}", cost)
    console.print(table)
