"""A folder belongs to one process, for as long as that lives."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from segdistill.comparison.compare import compare
from segdistill.comparison.plan import plan
from segdistill.comparison.search import search
from segdistill.comparison.sweep import sweep
from segdistill.errors import UserError
from segdistill.runs import lock
from segdistill.training.run import alone_recipe, distill
from segdistill.training.session import Session
from segdistill.training.train import train_network
from tests.tiny import TINY, tiny

HOLDER = """
import sys
from pathlib import Path
from segdistill.runs.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

Holder = subprocess.Popen[str]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    """Another process that works in the folder "run"."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def run_sweep(folder: Path, console: Console) -> None:
    sweep(search("quickstart", TINY, ["train.learning_rate=0.01,0.02"]), folder, trials=1, console=console)


COMMANDS: dict[str, Callable[[Path, Console], object]] = {
    "distill": lambda folder, console: distill(tiny(), folder, console=console),
    "train_network": lambda folder, console: train_network(
        Session(alone_recipe(tiny())), folder, console=console, label="alone"
    ),
    "compare": lambda folder, console: compare(plan("quickstart", TINY, "kd", "0"), folder, console=console),
    "sweep": run_sweep,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_second_process_is_refused_and_the_first_named(
    command: str, holder: Holder, tmp_path: Path, console: Console
) -> None:
    with pytest.raises(UserError, match=rf"run is in use by process {holder.pid} on .*; wait until it ends"):
        COMMANDS[command](tmp_path / "run", console)
    assert [file.name for file in (tmp_path / "run").iterdir()] == [lock.FILE]


def test_a_process_that_was_killed_holds_nothing(holder: Holder, tmp_path: Path, console: Console) -> None:
    holder.kill()
    holder.wait()
    assert (tmp_path / "run" / lock.FILE).exists()
    distill(tiny("baseline=false", "method=none"), tmp_path / "run", console=console)
    assert not (tmp_path / "run" / lock.FILE).exists()


def test_waiting_helps(holder: Holder, tmp_path: Path) -> None:
    with pytest.raises(UserError), lock.held(tmp_path / "run"):
        pass
    holder.communicate()  # ends its input, and with it the process
    with lock.held(tmp_path / "run"):
        assert (tmp_path / "run" / lock.FILE).read_text().startswith(f"{os.getpid()} on ")


def test_a_folder_is_held_once_by_all_of_a_process(tmp_path: Path) -> None:
    with lock.held(tmp_path), lock.held(tmp_path / "a" / ".."):
        lock.check_free(tmp_path)
    assert not (tmp_path / lock.FILE).exists()


def test_of_several_processes_only_the_first_holds(
    holder: Holder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with lock.held(tmp_path / "run"):
        lock.check_free(tmp_path / "run")


def test_a_forked_worker_does_not_hold_on(tmp_path: Path) -> None:
    code = """
import os, sys, time
from pathlib import Path
from segdistill.runs.lock import held
ready, says = os.pipe()
with held(Path(sys.argv[1])):
    if os.fork() == 0:
        os.write(says, b"x")
        time.sleep(5)
    os.read(ready, 1)
    os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    with lock.held(tmp_path):
        pass


@pytest.mark.parametrize("missing", ["windows", "network"])
def test_without_locks_a_run_goes_on(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if missing == "windows":
        monkeypatch.setattr(lock, "fcntl", None)
    else:
        monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with lock.held(tmp_path):
        lock.check_free(tmp_path)
