"""What a sweep has found so far: a row a trial, the best one first."""

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
    """One trial.

    Attributes:
        folder: The run's folder, whose name is the trial's.
        values: What it tries, by key.
        problem: Why it failed, if it did.
    """

    folder: Path
    values: Mapping[str, int | float | str]
    problem: str | None = None


@dataclass(frozen=True)
class SweepTables:
    """The table of a sweep, with what a reader must know beside it.

    Attributes:
        title: One line.
        facts: One line each.
        trials: A row a trial: the best validation score first, those without one last.
        best: The best trial, as changes to the recipe.
    """

    title: str
    facts: tuple[str, ...]
    trials: Table
    best: str

    def files(self) -> dict[str, str]:
        """Return the text of each file, by name, beside sweep.json."""
        listed = "".join(f"* {fact}\n" for fact in (*self.facts, self.best))
        return {
            "sweep.md": "\n".join([f"# {self.title}\n", listed, markdown(self.trials)]),
            "sweep.tex": latex(self.trials, notes=self.facts),
            "sweep.csv": comma_separated(self.trials),
        }

    def record(self) -> Record:
        """Return what sweep.json says of the trials."""
        return {"facts": list(self.facts), "best": self.best, "trials": as_json(self.trials)}


def sweep_tables(trials: Sequence[Trial], recipe: Record, keys: Sequence[str]) -> SweepTables:
    """Read the finished trials and put the best one first.

    Args:
        trials: The trials, in order.
        recipe: What all of them have in common.
        keys: What they differ in.

    Raises:
        UserError: A record is damaged.
    """
    files = {trial.folder.name: trial.folder / "result.json" for trial in trials}
    results = {name: read_result(file, "seconds") for name, file in files.items() if file.exists()}
    metric = metric_of(next(iter(results.values()), {}))
    key = f"val_{metric.key}"
    columns = [Column("trial", "trial"), *(Column(each, each, digits=4) for each in keys)]
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
