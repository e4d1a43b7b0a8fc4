"""Inputs that all runs of a comparison or sweep share: data, weights and code, as they were at the first run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from segdistill.runs.inputs import (
    Inputs,
    changed_inputs,
    describe_code,
    describe_inputs,
    refuse_changes,
    resized_inputs,
)
from segdistill.runs.json_files import damaged
from segdistill.training.session import Session

KEY = "inputs"


class SharedInputs:
    """Description of the inputs in the record of a comparison or sweep.

    Finished runs are compared with new ones, and may have no checkpoint any more. The record therefore holds what
    they were trained on.

    Args:
        file: The record, in the folder of the comparison or sweep.
        content: The content of the record; empty if there is none yet.

    Attributes:
        known: The inputs at the first run; of the last :meth:`check` for a record of a version that did not keep them.
        doubts: One line for each split whose files have changed in size since.

    Raises:
        UserError: The record is damaged.
    """

    def __init__(self, file: Path, content: dict[str, Any]) -> None:
        self.file = file
        self.known: Inputs = content.get(KEY, {})
        self.doubts: tuple[str, ...] = ()
        if not isinstance(self.known, dict) or not all(isinstance(each, dict) for each in self.known.values()):
            raise damaged(file)

    def check(self, session: Session, console: Console, code: Sequence[str] = ()) -> None:
        """Compare the inputs of a session's recipe with the known ones. Print a line for files of another size.

        Args:
            session: The opened recipe that all runs share.
            console: The console to print on.
            code: Own code that runs may use and the recipe does not name.

        Raises:
            UserError: Other images, weights or code.
        """
        recipe = session.recipe
        splits = dict.fromkeys(("train", *session.scored_splits))
        now = describe_inputs(recipe, recipe.teacher, {split: session.dataset(split) for split in splits})
        now |= describe_code(code)
        changes = changed_inputs(self.known, now)
        remedy = (
            f"restore them, give another --run-dir, or delete the folder (if no result changes, delete '{KEY}' in "
            f"{self.file.name})"
        )
        refuse_changes(self.file.parent, changes, remedy)
        resized = resized_inputs(self.known, now)
        self.doubts = tuple(f"files have changed in size since the first run; {change}" for change in resized)
        for line in self.doubts:
            console.print(line, soft_wrap=True)
        self.known = {**now, **self.known}
