"""Facts of a finished run that its model card states. This module does not import PyTorch."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from segdistill.errors import UserError
from segdistill.export.formats import FORMATS, REPORT, files_of
from segdistill.recipes import Recipe, load
from segdistill.reports.facts import STARTED_BY
from segdistill.runs.json_files import read_environment, read_json
from segdistill.runs.metric import Metric, metric_of, read_result

Record = dict[str, Any]

EXPORTED = (*(file for name in FORMATS for file in files_of(name)), REPORT)
"""Names of the files that ``segdistill export`` writes."""

# The beginning of an absolute path: of POSIX, of a home folder, of Windows, or the address of a local file. The address
# of another machine, with two slashes, is none.
_START = r"(?:/(?![/\s])|(?<!:)//(?=\S)|~|[a-z]:[\\/](?!/)|\\\\|file:/|[a-z][a-z0-9+.-]*:///)"
_LOCAL = re.compile(_START, re.IGNORECASE)

# A path within a value such as {a: {weights: /home/me/a.pth}}, in quotes or up to the next item.
_INSIDE = re.compile(
    rf"""(?P<quote>["'])(?P<quoted>{_START}.*?)(?P=quote)|(?<=[\s=:,({{\["'])(?P<bare>{_START}[^,\]}}]*)""",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Facts:
    """Facts of a finished run.

    Attributes:
        folder: The run's folder.
        recipe: Its recipe.
        result: Its result.json.
        alone: The result of the student alone with the same seed, in the run or in its comparison; None if there is
            none.
        environment: Its environment.json; empty if there is none.
        exported: The exported files in the folder.
        outputs: What the files of the last export return, by name: ``"classes"`` or ``"logits"``.
    """

    folder: Path
    recipe: Recipe
    result: Record
    alone: Record | None
    environment: Record
    exported: tuple[str, ...]
    outputs: Mapping[str, str]

    @property
    def metric(self) -> Metric:
        """The metric of the scores."""
        return metric_of(self.result)

    @property
    def protocol(self) -> tuple[str, ...]:
        """The keys by which the scoring differs from one pass over whole images; none for image classification."""
        return self.recipe.evaluation.changed if self.metric.key == "miou" else ()

    @property
    def gain(self) -> float | None:
        """The score minus that of the student alone with the same seed, in points; None if there is none."""
        key = self.metric.key
        return None if self.alone is None else 100 * (self.result[key] - self.alone[key])

    @property
    def command(self) -> str:
        """The command that trained the student, with paths of this machine reduced to their last names.

        It is empty for a run that a script started.
        """
        first, *words = self.environment.get("command") or [""]
        if first not in STARTED_BY:
            return ""
        return shlex.join(["segdistill", *(_without_path(str(word)) for word in words)])


def read_facts(folder: Path) -> Facts:
    """Return the facts of a run.

    Raises:
        UserError: The run is not finished, or a record is damaged.
    """
    if not (folder / "student.safetensors").is_file():
        raise UserError(f"{folder} has no student.safetensors; repeat the run's command, which writes it")
    result = read_result(folder / "result.json", "split", "params", "method")
    return Facts(
        folder,
        load(folder / "recipe.yaml"),
        result,
        _alone(folder, result),
        read_environment(folder),
        tuple(name for name in EXPORTED if (folder / name).is_file()),
        _outputs(folder / REPORT),
    )


def _outputs(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    record = read_json(file, "metadata", "formats")
    written = [name for name in FORMATS if record["formats"].get(name, {}).get("written")]
    return {name: str(record["metadata"].get("output")) for format in written for name in files_of(format)[:1]}


def _alone(folder: Path, result: Record) -> Record | None:
    if result["method"] == "none":
        return None
    files = [folder / "alone" / "result.json"]
    if (folder.parent / "comparison.json").is_file():
        files.append(folder.parent / f"none-s{result.get('seed')}" / "result.json")
    file: Path | None = next((each for each in files if each.is_file()), None)
    record = None if file is None else read_result(file, "split", "params")
    return record if record is not None and metric_of(record) == metric_of(result) else None


def _without_path(word: str) -> str:
    """Return a word of a command without the folders of this machine: each absolute path keeps its last name."""
    key, sign, value = word.partition("=")
    if _LOCAL.match(word) or not sign:
        key, sign, value = "", "", word
    if _LOCAL.match(value):  # the whole value, with all signs that a name may have
        return f"{key}{sign}{_last_name(value)}"
    return key + sign + _INSIDE.sub(_shortened, value)


def _shortened(found: re.Match[str]) -> str:
    quote = found["quote"] or ""
    return f"{quote}{_last_name(found['quoted'] or found['bare'])}{quote}"


def _last_name(path: str) -> str:
    """Return the last name of a path of any system, or of an address of a local file."""
    return PureWindowsPath(re.sub(r"^[a-z][a-z0-9+.-]*:/+", "/", path, flags=re.IGNORECASE)).name
