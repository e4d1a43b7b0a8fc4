"""A run's folder: new, to be continued, finished, or somebody else's."""

import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segdistill.atomic import write_text
from segdistill.errors import UserError
from segdistill.processes import is_first_process
from segdistill.recipes import Recipe, load, to_yaml
from segdistill.reports.metric import read_result
from segdistill.training import lock
from segdistill.training.records import environment, write_json

# What a run that was killed at its very beginning leaves: claim() writes recipe.yaml last.
UNFINISHED = {"environment.json", "environment.json.tmp", "recipe.yaml.tmp", lock.FILE}

# What says of a recipe where it comes from, and changes nothing of what is run.
NO_MATTER = ("description:", "experiment:", "recipe.description:", "recipe.experiment:")


class RunFolder:
    """A folder that holds one run; see the README for its files.

    Opening only looks; :meth:`claim` writes.

    Args:
        path: The folder.
        recipe: The run's recipe. The same recipe goes on where it stopped; another one may take the folder over as
            long as its student has no checkpoint.
        must_exist: Only accept a run that is there.

    Raises:
        UserError: The folder holds the run of another recipe, or other files, or (``must_exist``) no run.
    """

    def __init__(self, path: Path, recipe: Recipe, *, must_exist: bool = False) -> None:
        self.path, self.recipe = path, recipe
        self._is_new = False
        if not is_first_process():  # the first process has looked
            return
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file; give a folder with --run-dir")
        is_run = (path / "recipe.yaml").exists() and (path / "environment.json").exists()
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
        kept = ("checkpoints/last.pt", "checkpoints/first_stage.pt", "result.json")
        return any((self.path / file).exists() for file in kept)

    @property
    def result(self) -> dict[str, Any] | None:
        """The finished run's result.json; None while it is not finished."""
        file = self.path / "result.json"
        return read_result(file, "split", "params", "flops", "method") if file.exists() else None

    def claim(self) -> None:
        """Write down what is run here, with what."""
        if is_first_process() and not self.has_begun:
            write_json(self.path / "environment.json", environment(self.recipe.seed))
            write_text(self.path / "recipe.yaml", to_yaml(self.recipe))

    def abandon(self) -> None:
        """Leave nothing behind of a new run that failed before it had anything to go on from."""
        if self._is_new and not any(self.path.rglob("*.pt")):
            shutil.rmtree(self.path, ignore_errors=True)

    def _check_same_recipe(self) -> None:
        record = self.path / "recipe.yaml"
        try:
            there = load(record)  # which fills in keys that are newer than the run
        except UserError as error:
            raise UserError(
                f"{record} cannot be read ({error}); delete the folder, or give another --run-dir"
            ) from None
        refuse_other(self.path, "run", there.model_dump(mode="json"), self.recipe.model_dump(mode="json"))


def completed(record: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's record with the keys that are newer than it, so that it goes on under a later version."""
    try:
        return Recipe.model_validate(record).model_dump(mode="json")
    except ValidationError:
        return record  # whatever is not as it was will be named as a difference


def refuse_other(path: Path, kind: str, there: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise a UserError that shows the first differences, if a folder's recipe is not this one."""
    found = [each for each in _differences(there, now) if not each.startswith(NO_MATTER)]
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise UserError(
            f"{path} holds the {kind} of another recipe ({'; '.join(found[:3])}{more}); "
            "give another --run-dir, or delete the folder"
        )


def _differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in dict.fromkeys([*old, *new]):
            found += _differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else str(key))
        return found
    return [] if old == new else [f"{prefix}: {old} there, {new} now"]
