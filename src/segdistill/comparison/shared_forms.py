"""Forms of the networks in all runs of a comparison, chosen once and kept in its folder."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console

from segdistill.comparison.plan import PlannedRun, first_runs
from segdistill.comparison.run_loop import MENDABLE
from segdistill.runs.forms import FILE
from segdistill.runs.json_files import read_json
from segdistill.runs.records import write_json
from segdistill.runs.run_folder import has_begun
from segdistill.system.processes import are_several
from segdistill.training.forms import can_measure
from segdistill.training.session import Session
from segdistill.training.tuning import Choice, choose


class SharedForms:
    """The record ``speed.json`` of a comparison. Methods with equal networks train in equal forms, with all seeds.

    Args:
        folder: The folder of the comparison.

    Attributes:
        choices: The choices so far.

    Raises:
        UserError: The record is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / FILE
        content = read_json(self._file, "choices")["choices"] if self._file.exists() else []
        self.choices = [Choice(each["student"], each["teacher"], each["forms"]) for each in content]

    def add(self, choice: Choice) -> None:
        """Add a choice, unless its settings are known."""
        if all((each.student, each.teacher) != (choice.student, choice.teacher) for each in self.choices):
            self.choices.append(choice)

    def write(self, session: Session) -> None:
        """Write the record, if anything was measured."""
        if session.fabric.global_rank == 0 and any(choice.forms for choice in self.choices):
            write_json(self._file, {"choices": [asdict(choice) for choice in self.choices]})
        session.fabric.barrier()

    def choose(self, runs: Sequence[PlannedRun], session: Session, console: Console) -> None:
        """Choose the forms of the methods of new runs, and write the record.

        Args:
            runs: The unfinished runs.
            session: The session of the comparison, whose teacher has weights.
            console: The console to print on.
        """
        new = [run for run in runs if not has_begun(self._folder / run.folder)]
        if not any(can_measure(run.recipe.train) for run in new):
            return
        for run in first_runs(new).values():
            try:
                self.add(self._chosen(session.variant(run.recipe), console))
            except MENDABLE:
                if are_several():
                    raise
                # The run measures again, and its error ends no other run.
        if session.fabric.device.type == "cuda":
            torch.cuda.empty_cache()  # of the networks that were measured; runs of other processes need the memory
        self.write(session)

    def _chosen(self, session: Session, console: Console) -> Choice:
        distiller = session.build_trial()
        if session.crops() is not None:  # the teacher answers before the first step
            distiller.release_teacher()
        return choose(session, distiller, console, self.choices)
