"""Facts that a reader needs to judge the numbers of runs: networks, budget, data, commit, hardware."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segdistill.runs.json_files import read_environment

Record = dict[str, Any]

STARTED_BY = ("segdistill", "__main__.py")
"""The first word of a command that was typed; a script has another."""


def facts(recipe: Record, finished: Sequence[Path], splits: Sequence[str], seeds: Sequence[int]) -> tuple[str, ...]:
    """Return the facts, one line each.

    Args:
        recipe: The recipe that the runs share.
        finished: The folders of the finished runs; the facts name all their commits and machines.
        splits: The splits that the runs were scored on.
        seeds: The seeds that are compared.
    """
    train, data = recipe["train"], recipe["data"]
    begun = [read_environment(folder) for folder in finished]
    environments = [each for began in begun for each in (began, *began.get("resumed", []))]
    commits = dict.fromkeys(str(environment.get("commit") or "unknown") for environment in environments)
    machines = dict.fromkeys(_hardware(environment) for environment in environments)
    return (
        f"recipe {recipe['name']}: student {recipe['student']['model']}, {_teacher(recipe)}",
        f"{train['iterations']} steps of {train['batch_size']} images, seeds {', '.join(map(str, seeds))}",
        f"data {_data(data)}, scored on {' and '.join(splits) or '(nothing yet)'} with the weights best on val"
        + (", which makes the scores optimistic" if list(splits) == ["val"] else ""),
        f"commit {', '.join(commits) or '(no run yet)'}; {'; '.join(machines) or '(no machine yet)'}",
    )


def _data(data: Record) -> str:
    root = f" ({Path(data['root']).name})" if data["root"] else ""
    height, width = data["crop"]
    return f"{data['name']}{root} at {data['scale']:g} of its size, crops of {height}x{width}"


def _teacher(recipe: Record) -> str:
    teacher = recipe["teacher"]
    if teacher is None:
        return "no teacher"
    if teacher.get("members"):
        return "teachers " + ", ".join(f"{name} ({each['model']})" for name, each in teacher["members"].items())
    if teacher["train"] is None:
        return f"teacher {teacher['model']} with the weights {Path(teacher['weights'] or '-').name}"
    return f"teacher {teacher['model']}, trained here for {teacher['train']['iterations']} steps, seed {recipe['seed']}"


def _hardware(environment: Record) -> str:
    if "cpu_cores" not in environment:
        return "unknown hardware"
    gpus = ", ".join(environment.get("gpus") or ["no GPU"])
    return f"{gpus}, {environment.get('cpu_cores')} CPU cores, {environment.get('torch_threads')} threads"
