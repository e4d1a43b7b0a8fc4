"""The table of a sweep so far: a row for each trial, the best first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.reports.facts import facts
from segdistill.reports.table import Cell, Column, Table, as_json, comma_separated, latex, markdown
from segdistill.runs.metric import metric_of, read_result

Record = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One trial of a sweep.

    Attributes:
        folder: The folder of the trial's run, which has the trial's name.
        values: The values that the trial uses, by key of the recipe.
        problem: Why the trial failed; None if it did not.
    """

    folder: Path
    values: Mapping[str, int | float | str]
    problem: str | None = None


@dataclass(frozen=True)
class SweepTables:
    """The table of a sweep, with the facts that a reader needs to judge it.

    Attributes:
        title: The title, one line.
        facts: See :func:`segdistill.reports.facts.facts`.
        trials: A row for each trial: the best validation score first, trials without a score last.
        best: The best trial, as changes to the recipe.
    """

    title: str
    facts: tuple[str, ...]
    trials: Table
    best: str

    def files(self) -> dict[str, str]:
        """Return the text of each file by its name, except sweep.json."""
        facts_list = "".join(f"* {fact}\n" for fact in (*self.facts, self.best))
        return {
            "sweep.md": "\n".join([f"# {self.title}\n", facts_list, markdown(self.trials)]),
            "sweep.tex": latex(self.trials, notes=self.facts),
            "sweep.csv": comma_separated(self.trials),
        }

    def record(self) -> Record:
        """Return the entries of sweep.json for the trials."""
        return {"facts": list(self.facts), "best": self.best, "trials": as_json(self.trials)}


def sweep_tables(trials: Sequence[Trial], recipe: Record, keys: Sequence[str]) -> SweepTables:
    """Return the table of the trials, with the results of those that are finished and the best first.

    Args:
        trials: The trials, in order.
        recipe: The recipe that all trials share.
        keys: The keys of the recipe that the trials change.

    Raises:
        UserError: A record is damaged.
    """
    files = {trial.folder.name: trial.folder / "result.json" for trial in trials}
    results = {name: read_result(file, "seconds") for name, file in files.items() if file.exists()}
    metric = metric_of(next(iter(results.values()), {}))
    key = f"val_{metric.key}"
    columns = [Column("trial", "trial"), *(Column(each, each, digits=4, significant=True) for each in keys)]
    columns += [Column(f"{key}_percent", f"{metric.name} on val"), Column("seconds", "seconds", digits=0)]
    columns += [Column("problem", "problem")]
    scores = {name: result[key] for name, result in results.items()}
    ordered = sorted(trials, key=lambda trial: -scores.get(trial.folder.name, -1.0))
    rows: list[tuple[Cell, ...]] = []
    for trial in ordered:
        name = trial.folder.name
        result = results.get(name)
        score = None if result is None else 100 * result[key]
        seconds = None if result is None else float(result["seconds"])
        rows.append((name, *(trial.values.get(each) for each in keys), score, seconds, trial.problem))
    best = "no trial is finished"
    if scores:
        changes = " ".join(f"{key}={value}" for key, value in ordered[0].values.items())
        best = f"best: {ordered[0].folder.name} with {changes}"
    finished = [trial.folder for trial in trials if trial.folder.name in results]
    return SweepTables(
        title=f"{recipe['name']}, {recipe['method']}: {len(results)} of {len(trials)} trials finished",
        facts=facts(recipe, finished, ["val"] if scores else [], [recipe["seed"]]),
        trials=Table(f"{metric.name} on val in percent", tuple(columns), tuple(rows)),
        best=best,
    )
