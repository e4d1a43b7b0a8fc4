"""What a run says while it goes: a progress bar on a terminal, plain lines anywhere else."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class Narrator:
    """Tells the progress of one network's training; silent on every process but the first.

    Args:
        console: Where to print.
        label: Whose training it is: "teacher", "student alone", "distilled".
    """

    def __init__(self, console: Console, label: str) -> None:
        self.console, self.label = console, label
        self._bar: Progress | None = None

    def begin(self, start: int, steps: int) -> None:
        """Start telling, at step ``start`` of ``steps``."""
        self.start, self.steps = start, steps
        self._began = time.monotonic()
        if start:
            self.line(f"{self.label}: going on from step {start}")
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[said]}", markup=False),
            )
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._task = self._bar.add_task(self.label, total=steps, completed=start, said="")
            self._bar.start()

    def step(self, step: int, values: dict[str, float], score: float | None) -> None:
        """Say how step ``step`` (1-based) went: the total, every term, speed, time left, best score on val."""
        rate = (step - self.start) / max(time.monotonic() - self._began, 1e-9)
        said = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
        said += f"  {rate:.2f} it/s  {clock((self.steps - step) / rate)} left"
        if score is not None:
            said += f"  best on val {score:.1%}"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, said=said)
        else:
            self.line(f"{self.label} {step}/{self.steps}  {said}")

    def line(self, text: str) -> None:
        """Print one line above the bar."""
        self.console.print(text, soft_wrap=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def quiet() -> Iterator[None]:
    """Log nothing but warnings: for what is built only to be tried, and will say the same when it is used."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def clock(seconds: float) -> str:
    """Write a duration as people read it: ``45s``, ``3m10s``, ``2h05m``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
