"""A run's folder: new, to be continued, finished, or somebody else's."""

import re
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segdistill.system.atomic import write_text
from segdistill.errors import UserError
from segdistill.system.processes import is_first_process
from segdistill.recipes import Recipe, load, to_yaml
from segdistill.runs.json_files import read_environment
from segdistill.runs.metric import read_result
from segdistill.runs import checkpoint
from segdistill.runs import lock
from segdistill.runs.inputs import Inputs, changed_inputs, resized_inputs
from segdistill.runs.records import environment, write_json

# What a run that was killed at its very beginning leaves: claim() writes recipe.yaml last.
UNFINISHED = {"environment.json", "environment.json.tmp", "recipe.yaml.tmp", lock.FILE}

# Where a recipe comes from, when it is saved, what its teacher must reach: none of it changes what is run.
NO_MATTER = re.compile(
    r"(recipe\.)?(description|experiment|teacher\.min_miou|(teacher\.(members\..+\.)?)?train\.save_every): "
)

# What a run may go on with in other values, if it is asked to: whatever keeps a loss finite.
MENDING = re.compile(
    r"(teacher\.(members\..+\.)?)?train\.(learning_rate|floor|warmup|clip): |terms\.[^.]+\.weight(\.[^:]+)?: "
)


class RunFolder:
    """A folder that holds one run; see the README for its files.

    Opening only looks; :meth:`claim` writes.

    Args:
        path: The folder.
        recipe: The run's recipe. The same recipe goes on where it stopped; another one may take the folder over as
            long as its student has no checkpoint.
        must_exist: Only accept a run that is there.
        accepts_changes: Go on with another learning rate, clipping, warm-up or weight of a term, and with other
            inputs, and remember it.

    Attributes:
        changes: What is accepted now that was otherwise, a line each.

    Raises:
        UserError: The folder holds the run of another recipe, or other files, or (``must_exist``) no run.
    """

    def __init__(self, path: Path, recipe: Recipe, *, must_exist: bool = False, accepts_changes: bool = False) -> None:
        self.path, self.recipe, self.accepts_changes = path, recipe, accepts_changes
        self.changes: list[str] = []
        self._is_new = False
        if not is_first_process():  # the first process has looked
            return
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file; give a folder with --run-dir")
        is_run = (path / "recipe.yaml").exists() and ((path / "environment.json").exists() or self.has_begun)
        if must_exist and not is_run:
            raise UserError(f"nothing to resume in {path}; leave --resume out to start a run there")
        if not is_run and path.is_dir() and not {file.name for file in path.iterdir()} <= UNFINISHED:
            raise UserError(f"{path} is not empty and holds no run; give another --run-dir")
        if is_run and self.has_begun:
            self._check_same_recipe()
        self._is_new = not is_run

    @property
    def has_begun(self) -> bool:
        """True once the student, or a loss that learns before it, has a checkpoint, or there is a result."""
        return self._last is not None or (self.path / "result.json").exists()

    @property
    def result(self) -> dict[str, Any] | None:
        """The finished run's result.json; None while it is not finished."""
        file = self.path / "result.json"
        return read_result(file, "split", "params", "flops", "method") if file.exists() else None

    @property
    def recorded_changes(self) -> list[Any]:
        """What was changed on the way since the run began."""
        return list(read_environment(self.path).get("changes", []))

    def check_inputs(self, now: Inputs) -> list[str]:
        """Refuse to go on from a checkpoint with other data or weights, unless changes are accepted.

        Returns:
            Changes that are no reason to stop.

        Raises:
            UserError: Names what is different; or the checkpoint cannot be read.
        """
        there = {} if self._last is None else checkpoint.load(self._last, peek=True).get("inputs", {})
        found = changed_inputs(there, now)
        if found and not self.accepts_changes:
            raise UserError(
                f"{self.path} was begun with other inputs ({'; '.join(found)}); put back what was there, give "
                "another --run-dir, or go on all the same with --resume (of distill and train)"
            )
        self.changes += found
        return resized_inputs(there, now)

    def claim(self) -> None:
        """Write down what is run here, with what."""
        if not is_first_process():
            return
        if self.changes and self._last is not None:
            step = checkpoint.load(self._last, peek=True)["step"]
            changes = [*self.recorded_changes, *({"step": step, "change": change} for change in self.changes)]
            write_json(self.path / "environment.json", {**environment(self.recipe.seed), "changes": changes})
            write_text(self.path / "recipe.yaml", to_yaml(self.recipe))
            self.changes = []
        elif not self.has_begun or not (self.path / "environment.json").exists():
            write_json(self.path / "environment.json", environment(self.recipe.seed))
            write_text(self.path / "recipe.yaml", to_yaml(self.recipe))

    def abandon(self) -> None:
        """Leave nothing behind of a new run that failed before its first step."""
        steps = (file for file in self.path.rglob("metrics.jsonl") if file.stat().st_size)
        if self._is_new and not any(self.path.rglob("*.pt")) and not any(steps):
            shutil.rmtree(self.path, ignore_errors=True)

    @property
    def _last(self) -> Path | None:
        """What the run goes on from."""
        files = (self.path / "checkpoints" / name for name in ("last.pt", "first_stage.pt"))
        return next((file for file in files if file.exists()), None)

    def _check_same_recipe(self) -> None:
        record = self.path / "recipe.yaml"
        try:
            there = load(record)  # which fills in keys that are newer than the run
        except UserError as error:
            raise UserError(
                f"{record} cannot be read ({error}); delete the folder, or give another --run-dir"
            ) from None
        found = differences(there.model_dump(mode="json"), self.recipe.model_dump(mode="json"))
        mending = all(MENDING.match(each) for each in found)
        if self.accepts_changes and mending:
            self.changes += found
        elif found:
            raise _other(self.path, "run", found, "; or go on with --resume, which accepts that" if mending else "")


def completed(record: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's record with the keys that are newer than it, so that it goes on under a later version."""
    try:
        return Recipe.model_validate(record).model_dump(mode="json")
    except ValidationError:
        return record  # whatever is not as it was will be named as a difference


def refuse_other(path: Path, kind: str, there: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise a UserError that shows the first differences, if a folder's recipe is not this one."""
    found = differences(there, now)
    if found:
        raise _other(path, kind, found)


def differences(there: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return in what two recipes differ that changes what is run, as ``key: old there, new now``."""
    return [each for each in _differences(there, now) if not NO_MATTER.match(each)]


def _other(path: Path, kind: str, found: list[str], remedy: str = "") -> UserError:
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    return UserError(
        f"{path} holds the {kind} of another recipe ({'; '.join(found[:3])}{more}); "
        f"give another --run-dir, or delete the folder{remedy}"
    )


def _differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in dict.fromkeys([*old, *new]):
            found += _differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else str(key))
        return found
    return [] if old == new else [f"{prefix}: {old} there, {new} now"]
