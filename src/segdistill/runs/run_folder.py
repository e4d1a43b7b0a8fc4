"""The folder of a run: new, unfinished or finished. A folder with other content is refused."""

import re
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segdistill.errors import UserError, few
from segdistill.recipes import Recipe, load, to_yaml
from segdistill.runs import checkpoint, lock
from segdistill.runs.inputs import Inputs, changed_inputs, refuse_changes, resized_inputs
from segdistill.runs.json_files import read_environment
from segdistill.runs.metric import read_result
from segdistill.runs.records import environment, write_json
from segdistill.system.atomic import write_text
from segdistill.system.processes import is_first_process

# Files of a run that was killed before it wrote its recipe: claim() writes recipe.yaml last.
UNFINISHED = {"environment.json", "environment.json.tmp", "recipe.yaml.tmp", lock.FILE}

# Keys that do not change the run: description, experiment, the teacher's least score, the folder of its answers, the
# interval of checkpoints, how many images are scored at once, how images are read. Resizing on a GPU (cache=device)
# rounds differently.
NO_MATTER = re.compile(
    r"(recipe\.)?(description|experiment|teacher\.(min_miou|replay_folder)"
    r"|(teacher\.(members\..+\.)?)?train\.save_every"
    r"|evaluation\.batch_size|data\.(workers|cache_folder)|data\.cache(?!.*device)): "
)

# Keys that may change when a run is resumed with --resume: those that can keep a loss finite.
MENDING = re.compile(
    r"(teacher\.(members\..+\.)?)?train\.(learning_rate|floor|warmup|clip|clip_modules): "
    r"|terms\.[^.]+\.weight(\.[^:]+)?: "
)


class RunFolder:
    """A folder that holds one run; see the README for its files.

    Constructing it only reads; :meth:`claim` writes.

    Args:
        path: The folder.
        recipe: The run's recipe. The same recipe resumes where it stopped. Another recipe may take over the folder
            until a checkpoint or a result exists.
        must_exist: If True, accept only a run that exists.
        accepts_changes: If True, resume with another learning rate, floor, clipping, warm-up or weight of a term, and
            with other inputs, and record the change.

    Attributes:
        changes: The accepted changes that are not recorded yet, one line each.

    Raises:
        UserError: The folder holds the run of another recipe, or other files, or (``must_exist``) no run.
    """

    def __init__(self, path: Path, recipe: Recipe, *, must_exist: bool = False, accepts_changes: bool = False) -> None:
        self.path, self.recipe, self.accepts_changes = path, recipe, accepts_changes
        self.changes: list[str] = []
        self._is_new = False
        if not is_first_process():  # the first process checks
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
        """True once there is a checkpoint of the student or of the first stage, or a result."""
        return has_begun(self.path)

    @property
    def result(self) -> dict[str, Any] | None:
        """The result.json of a finished run; None until it is finished."""
        file = self.path / "result.json"
        return read_result(file, "split", "params", "flops", "method") if file.exists() else None

    @property
    def recorded_changes(self) -> list[Any]:
        """The changes that environment.json records since the run began."""
        return list(read_environment(self.path).get("changes", []))

    def check_inputs(self, now: Inputs) -> list[str]:
        """Raise if data, weights or own code differ from the checkpoint's, unless changes are accepted.

        Returns:
            Changes that need only a warning: files of another size.

        Raises:
            UserError: The inputs differ, and the message names them; or the checkpoint cannot be read.
        """
        before = {} if self._last is None else checkpoint.load(self._last, peek=True).get("inputs", {})
        changes = changed_inputs(before, now)
        if not self.accepts_changes:
            others = "give another --run-dir, delete the folder, or accept the new ones with --resume"
            refuse_changes(self.path, changes, f"restore them, {others} (of distill and train)")
        self.changes += changes
        return resized_inputs(before, now)

    def claim(self) -> None:
        """Write the recipe and the environment into the folder.

        A resumed run keeps the environment of its start, and adds the accepted changes and an environment that differs.
        """
        if not is_first_process():
            return
        file, now = self.path / "environment.json", environment(self.recipe.seed)
        if self._last is None:
            if not self.has_begun or not file.exists():
                write_json(file, now)
                write_text(self.path / "recipe.yaml", to_yaml(self.recipe))
            return
        began = read_environment(self.path)
        latest = [began, *began.get("resumed", [])][-1]
        differs = self.result is None and any(latest.get(key) != now[key] for key in now if key != "command")
        if self.changes or differs:
            step = checkpoint.load(self._last, peek=True)["step"]
            began.setdefault("changes", []).extend({"step": step, "change": change} for change in self.changes)
            began.setdefault("resumed", []).extend([{"step": step, **now}] if differs else [])
            write_json(file, {key: value for key, value in began.items() if value != []})
        if self.changes:
            write_text(self.path / "recipe.yaml", to_yaml(self.recipe))
            self.changes = []

    def abandon(self) -> None:
        """Delete the folder of a new run that failed before its first step."""
        steps = (file for file in self.path.rglob("metrics.jsonl") if file.stat().st_size)
        if self._is_new and not any(self.path.rglob("*.pt")) and not any(steps):
            shutil.rmtree(self.path, ignore_errors=True)

    @property
    def _last(self) -> Path | None:
        """The checkpoint to resume from; None if there is none."""
        return _last_checkpoint(self.path)

    def _check_same_recipe(self) -> None:
        record = self.path / "recipe.yaml"
        try:
            recorded = load(record)  # this fills in keys that are newer than the run
        except UserError as error:
            raise UserError(
                f"{record} cannot be read ({error}); delete the folder, or give another --run-dir"
            ) from None
        changes = differences(recorded.model_dump(mode="json"), self.recipe.model_dump(mode="json"))
        mending = all(MENDING.match(change) for change in changes)
        if self.accepts_changes and mending:
            self.changes += changes
        elif changes:
            raise _other(self.path, "run", changes, "; or accept the change with --resume" if mending else "")


def has_begun(folder: Path) -> bool:
    """Return True if a run's folder has a checkpoint of the student or of the first stage, or a result."""
    return _last_checkpoint(folder) is not None or (folder / "result.json").exists()


def _last_checkpoint(folder: Path) -> Path | None:
    files = (folder / "checkpoints" / name for name in ("last.pt", "first_stage.pt"))
    return next((file for file in files if file.exists()), None)


def completed(record: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's record with the keys that are newer than it, so that a later version can resume the run."""
    try:
        return Recipe.model_validate(record).model_dump(mode="json")
    except ValidationError:
        return record  # differences() will name what does not fit


def refuse_other(path: Path, kind: str, there: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise a UserError with the first differences if a folder's recipe differs from this one."""
    changes = differences(there, now)
    if changes:
        raise _other(path, kind, changes)


def differences(there: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the differences of two recipes that change the run, as ``key: old there, new now``."""
    return [each for each in _differences(there, now) if not NO_MATTER.match(each)]


def _other(path: Path, kind: str, changes: list[str], remedy: str = "") -> UserError:
    return UserError(
        f"{path} holds the {kind} of another recipe ({few(changes, 3, '; ')}); "
        f"give another --run-dir, or delete the folder{remedy}"
    )


def _differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        changes = []
        for key in dict.fromkeys([*old, *new]):
            changes += _differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else str(key))
        return changes
    return [] if old == new else [f"{prefix}: {old} there, {new} now"]
