"""Own losses of the rows of a comparison: what their source files were at the first run of each row."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segdistill.comparison.plan import PlannedRun, first_runs
from segdistill.recipes.own_code import code_of_terms
from segdistill.runs.inputs import Inputs, changed_inputs, describe_code, refuse_changes
from segdistill.runs.json_files import damaged

KEY = "code"


class RowCode:
    """Digests of own losses in the record of a comparison, by row. A row is the mean of runs with the same code.

    Args:
        file: The record, in the folder of the comparison.
        content: The content of the record; empty if there is none yet.

    Attributes:
        known: For each row with own losses, their digests.

    Raises:
        UserError: The record is damaged.
    """

    def __init__(self, file: Path, content: dict[str, Any]) -> None:
        self.file = file
        self.known: dict[str, Inputs] = content.get(KEY, {})
        if not isinstance(self.known, dict) or not all(_is_code(each) for each in self.known.values()):
            raise damaged(file)

    def check(self, runs: Iterable[PlannedRun], begun: Mapping[str, Sequence[str]]) -> None:
        """Compare the own losses of the rows with the known ones.

        Args:
            runs: The planned runs.
            begun: For each row, the folders of its runs that have begun. A row without any is trained with today's
                code.

        Raises:
            UserError: The source of a loss of a row has changed since the first run of the row.
        """
        for row, run in first_runs(runs).items():
            now = describe_code(code_of_terms(run.recipe))
            folders = begun.get(row, ())
            changes = changed_inputs(self.known.get(row, {}), now) if folders else []
            remedy = (
                f"undo the change, give another --run-dir, or delete {', '.join(folders)} in it (if no result changes, "
                f"delete '{KEY}' in {self.file.name})"
            )
            refuse_changes(self.file.parent, [f"row '{row}': {change}" for change in changes], remedy)
            self.known = {**self.known, **({row: now} if now else {})}


def _is_code(known: object) -> bool:
    return isinstance(known, dict) and all(isinstance(each, dict) for each in known.values())
