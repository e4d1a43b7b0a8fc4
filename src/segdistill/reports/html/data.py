"""Content of a report: what the folder of a run holds, and what was measured for the report.

A missing or damaged record is left out, so that runs of earlier versions and unfinished runs have a report too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segdistill.data import Classes
from segdistill.recipes.yaml import YAMLError, read
from segdistill.reports.html.pictures import Scene
from segdistill.runs.json_files import read_environment

Record = dict[str, Any]


@dataclass(frozen=True)
class RunRecords:
    """Records in the folder of one run.

    Attributes:
        folder: The folder.
        recipe: The content of recipe.yaml.
        environment: The content of environment.json.
        result: The content of result.json; None until the run is finished.
        metrics: The lines of metrics.jsonl.
        student_bytes: The size of student.safetensors; None if there is none.
    """

    folder: Path
    recipe: Record
    environment: Record
    result: Record | None
    metrics: tuple[Record, ...]
    student_bytes: int | None


@dataclass(frozen=True)
class Measured:
    """Measurements for the report, which need the networks and the data set.

    Attributes:
        pixels: The number of labeled pixels of each class in training masks, or in a sample of them.
        milliseconds: The time of one image for each network, by its name in tables.
        timed: What was timed, in words.
        classes: The classes of the data set.
        scenes: The pictures, the most changed first.
        shown: How the pictures were chosen, in words.
        missing: Why some of this is missing, one line each.
        left_out: The methods that are neither in the pictures nor timed, because there is room for a few only.
    """

    pixels: Mapping[str, int] = field(default_factory=dict)
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    timed: str = ""
    classes: Classes | None = None
    scenes: tuple[Scene, ...] = ()
    shown: str = ""
    missing: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """Which methods are left out, in words; empty if none is."""
        if not self.left_out:
            return ""
        return f"Pictures and times leave out methods with lower scores on val: {', '.join(self.left_out)}."


def read_run(folder: Path) -> RunRecords | None:
    """Return the records in a run's folder; None if it holds no run."""
    if not any((folder / name).is_file() for name in ("result.json", "metrics.jsonl", "recipe.yaml")):
        return None
    student = folder / "student.safetensors"
    return RunRecords(
        folder=folder,
        recipe=_read_recipe(folder / "recipe.yaml"),
        environment=read_environment(folder),
        result=_read_object(folder / "result.json"),
        metrics=_read_lines(folder / "metrics.jsonl"),
        student_bytes=student.stat().st_size if student.is_file() else None,
    )


def value_of(record: Mapping[str, Any] | None, *path: str) -> Any:
    """Return a value within nested records; None if a key on the way is missing."""
    found: Any = record
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _read_object(file: Path) -> Record | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _read_recipe(file: Path) -> Record:
    try:
        content = read(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_lines(file: Path) -> tuple[Record, ...]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(line for line in map(_parsed, text.splitlines()) if line is not None)


def _parsed(line: str) -> Record | None:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):  # the last line of a killed run may be incomplete
        return None
    return content if isinstance(content, dict) and isinstance(content.get("step"), int) else None
