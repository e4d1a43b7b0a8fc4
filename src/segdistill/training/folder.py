"""A run's folder: new, to be continued, finished, or somebody else's."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.errors import UserError
from segdistill.recipes import Recipe, to_yaml
from segdistill.recipes.yaml import YAMLError, read
from segdistill.training.records import environment, write_json, write_text


@dataclass(frozen=True)
class RunFolder:
    """A folder that holds one run; see the README for its files."""

    path: Path

    @classmethod
    def open(cls, path: Path, recipe: Recipe, *, must_exist: bool = False) -> "RunFolder":
        """Claim a folder for a recipe. The same recipe goes on where it stopped.

        Raises:
            UserError: The folder holds the run of another recipe, or other files, or (``must_exist``) no run.
        """
        if _is_follower():  # the first process has claimed it, or refused
            return cls(path)
        record = path / "recipe.yaml"
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file; give a folder with --run-dir")
        if record.exists() and cls(path).has_begun:
            differences = _differences(_read(record), recipe.model_dump(mode="json"))
            if differences:
                raise UserError(
                    f"{path} holds the run of another recipe ({'; '.join(differences[:3])}"
                    f"{f'; and {len(differences) - 3} more' if len(differences) > 3 else ''}); "
                    f"give another --run-dir, or delete the folder"
                )
            return cls(path)
        if must_exist:
            raise UserError(f"nothing to resume in {path}; leave --resume out to start a run there")
        if path.is_dir() and any(path.iterdir()) and not record.exists():
            raise UserError(f"{path} is not empty and holds no run; give another --run-dir")
        write_text(record, to_yaml(recipe))
        write_json(path / "environment.json", environment(recipe.seed))
        return cls(path)

    @property
    def has_begun(self) -> bool:
        """True once there is something to go on from, here or in a run beneath."""
        return any(self.path.rglob("last.pt"))

    def abandon(self) -> None:
        """Leave nothing behind of a run that failed before it had anything to go on from."""
        if not self.has_begun and not _is_follower():
            shutil.rmtree(self.path, ignore_errors=True)

    @property
    def result(self) -> dict[str, Any] | None:
        """The finished run's result.json; None while it is not finished."""
        file = self.path / "result.json"
        if not file.exists():
            return None
        content: dict[str, Any] = json.loads(file.read_text())
        return content


def _is_follower() -> bool:
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) != "0"


def _read(record: Path) -> dict[str, Any]:
    try:
        content = read(record.read_text())
    except YAMLError:
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{record} is damaged; delete the folder, or give another --run-dir")
    return content


def _differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in dict.fromkeys([*old, *new]):
            found += _differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else str(key))
        return found
    return [] if old == new else [f"{prefix}: {old} there, {new} now"]
