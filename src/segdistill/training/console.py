"""Progress on the screen: a progress bar on a terminal, plain lines elsewhere."""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from segdistill.system.progress import Speed, listening

# Without a terminal, one line in this many seconds tells how far work other than training is.
EVERY = 10.0


class Watcher:
    """Progress of work other than training, such as the scoring of a network. Work that is done at once shows nothing.

    Args:
        console: The console to print on.
        label: The name of the training that the work belongs to; empty outside one.
    """

    def __init__(self, console: Console, label: str = "") -> None:
        self.console, self.label = console, label
        self._bar: Progress | None = None
        self._ours = False
        self._task: TaskID | None = None
        self._speed: Speed | None = None

    def hear(self, what: str, done: int, total: int | None) -> None:
        """Show that ``done`` of ``total`` items of the work ``what`` are done; None is an unknown total."""
        if self._speed is None:
            self._speed, self._told = Speed(done), time.monotonic()
            return
        text = f"{self._speed.at(done):.1f}/s"
        if total is not None:
            text += f"  {clock(self._speed.left(done, total))} left"
        if self.console.is_terminal:
            self._show(what, done, total, text)
        elif time.monotonic() - self._told >= EVERY and done != total:
            self._told = time.monotonic()
            start = f"{self.label}: " if self.label else ""
            count = done if total is None else f"{done}/{total}"
            self.console.print(f"{start}{what} {count}  {text}", soft_wrap=True)

    def end(self, what: str) -> None:
        """Remove the bar."""
        self._speed = None
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
            if self._ours:
                self._bar.stop()
                self._bar = None

    def _show(self, what: str, done: int, total: int | None, text: str) -> None:
        if self._bar is None:
            self._bar, self._ours = open_bar(self.console), True
        if self._task is None:
            self._task = self._bar.add_task(what, total=total, values="")
        self._bar.update(self._task, completed=done, values=text)

    def use(self, bar: Progress | None) -> None:
        """Show the work below the bar of a training."""
        self._bar, self._ours = bar, False


def open_bar(console: Console) -> Progress:
    """Return a bar on a console, started. It disappears at its end."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[values]}", markup=False),
    )
    bar = Progress(*columns, console=console, transient=True)
    bar.start()
    return bar


class Narrator:
    """Progress of one network's training, as a bar or as lines.

    Args:
        console: The console to print on.
        label: The name of the training: "teacher", "student alone", "distilled".
    """

    def __init__(self, console: Console, label: str) -> None:
        self.console, self.label = console, label
        self._bar: Progress | None = None
        self._open = ExitStack()

    def begin(self, start: int, steps: int) -> None:
        """Start the display at step ``start`` of ``steps``."""
        self.steps = steps
        self._speed = Speed(start)
        if start:
            self.line(f"{self.label}: resuming from step {start}")
        watcher = Watcher(self.console, self.label)
        if self.console.is_terminal:
            self._bar = open_bar(self.console)
            self._task = self._bar.add_task(self.label, total=steps, completed=start, values="")
            watcher.use(self._bar)
        self._open.enter_context(listening(watcher))

    def step(self, step: int, values: dict[str, float], score: float | None) -> None:
        """Show step ``step`` (1-based): the total, every term, current speed, time left, best score on val."""
        text = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
        text += f"  {self._speed.at(step):.2f} it/s  {clock(self._speed.left(step, self.steps))} left"
        if score is not None:
            text += f"  best on val {score:.1%}"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, values=text)
        else:
            self.line(f"{self.label} {step}/{self.steps}  {text}")

    def pause(self) -> AbstractContextManager[None]:
        """Leave the time of a block, such as a validation, out of the speed."""
        return self._speed.pause()

    def line(self, text: str) -> None:
        """Print one line above the bar."""
        self.console.print(text, soft_wrap=True)

    def close(self) -> None:
        """Remove the bar."""
        self._open.close()
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
