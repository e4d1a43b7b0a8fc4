"""Progress of a training on the screen: a progress bar on a terminal, plain lines elsewhere."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class Narrator:
    """Progress of one network's training, as a bar or as lines.

    Args:
        console: The console to print on.
        label: The name of the training: "teacher", "student alone", "distilled".
    """

    def __init__(self, console: Console, label: str) -> None:
        self.console, self.label = console, label
        self._bar: Progress | None = None

    def begin(self, start: int, steps: int) -> None:
        """Start the display at step ``start`` of ``steps``."""
        self.start, self.steps = start, steps
        self._began = time.monotonic()
        if start:
            self.line(f"{self.label}: resuming from step {start}")
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[values]}", markup=False),
            )
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._task = self._bar.add_task(self.label, total=steps, completed=start, values="")
            self._bar.start()

    def step(self, step: int, values: dict[str, float], score: float | None) -> None:
        """Show step ``step`` (1-based): the total, every term, speed, time left, best score on val."""
        rate = (step - self.start) / max(time.monotonic() - self._began, 1e-9)
        text = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
        text += f"  {rate:.2f} it/s  {clock((self.steps - step) / rate)} left"
        if score is not None:
            text += f"  best on val {score:.1%}"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, values=text)
        else:
            self.line(f"{self.label} {step}/{self.steps}  {text}")

    def line(self, text: str) -> None:
        """Print one line above the bar."""
        self.console.print(text, soft_wrap=True)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def quiet() -> Iterator[None]:
    """Log only warnings, while objects are built for a trial. The run logs the same lines when it builds them again."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def clock(seconds: float) -> str:
    """Format a duration: ``45s``, ``3m10s``, ``2h05m``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
