"""`segdistill compare` as a user calls it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_commands import run
from tests.tiny import TINY

ASKED = ("compare", "quickstart", *TINY, "--methods", "kd,gskd", "--seeds", "0,1")


def test_a_users_short_file_is_enough(monkeypatch, tmp_path: Path, capsys) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("recipe: quickstart\n" + "".join(f"# {line}\n" for line in range(3)) + "method: kd\n")
    changes = [change for change in TINY if not change.startswith("method=")]
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "compare", "mine.yaml", *changes, "--seeds", "0") == 0
    folder = tmp_path / "runs/mine-comparison"
    assert {row["method"] for row in json.loads((folder / "comparison.json").read_text())["table"]} == {
        "none", "kd", "teacher",
    }  # fmt: skip
    assert "over the student alone" in capsys.readouterr().out


def test_a_dry_run_counts_and_writes_nothing(monkeypatch, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "compared"
    assert run(monkeypatch, *ASKED, "--run-dir", str(folder), "--dry-run") == 0
    said = capsys.readouterr().out
    assert "7 of 7 runs to do" in said  # the teacher's among them
    assert "hours; nothing was written" in said
    assert not folder.exists()
    one = ("compare", "quickstart", *TINY, "--methods", "kd", "--seeds", "0", "--run-dir", str(folder))
    assert run(monkeypatch, *one) == 0
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    capsys.readouterr()
    assert run(monkeypatch, *ASKED, "--run-dir", str(folder), "--dry-run") == 0
    said = capsys.readouterr().out
    assert "4 of 7 runs to do" in said
    states = {line.split()[0]: line.split()[1] for line in said.splitlines() if line}
    assert states["teacher"] == states["none-s0"] == states["kd-s0"] == "finished"
    assert states["kd-s1"] == states["gskd-s0"] == "not"
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("methods", "seeds", "expected"),
    [
        ("kd,gksd", "0", "unknown method 'gksd'; did you mean 'gskd'?"),
        ("kd,gskd:terms.gskd.sample=8", "0", "method 'gskd:terms.gskd.sample=8': unknown key of term 'gskd'"),
        ("kd:data.crop=[8,8]", "0", "would make the comparison unequal"),
        ("kd:train.iterations=9", "0", "would make the comparison unequal"),
        ("terms.kd.weight=2", "0", "belongs to no method"),
        ("kd", "0;1", "--seeds: expected whole numbers joined by commas"),
        ("kd:terms.kd=null", "0", "has no distillation term left"),
        ("kd:terms.kd.on=hed", "0", "method 'kd:terms.kd.on=hed': "),  # found in the rehearsal
    ],
)
def test_a_wrong_word_costs_seconds_and_leaves_nothing(
    monkeypatch, tmp_path: Path, capsys, methods: str, seeds: str, expected: str
) -> None:
    folder = tmp_path / "compared"
    asked = ("compare", "quickstart", *TINY, "--methods", methods, "--seeds", seeds, "--run-dir", str(folder))
    assert run(monkeypatch, *asked) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1
    assert not folder.exists()


def test_against_a_row_that_is_not_there(monkeypatch, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "compared"
    asked = ("compare", "quickstart", *TINY, "--methods", "kd,gskd", "--against", "gksd", "--run-dir", str(folder))
    assert run(monkeypatch, *asked) == 2
    said = capsys.readouterr().err
    assert "--against: there is no row 'gksd' (did you mean 'gskd'?); give one of none, kd, gskd\n" in said
    assert not folder.exists()


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    asked = ("compare", "quickstart", *TINY, "--methods", "kd,gskd", "--seeds", "0", "--run-dir", str(folder), *more)
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "segdistill", *asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_killed_in_the_middle_the_same_command_goes_on(tmp_path: Path) -> None:
    process = start(tmp_path / "c")
    assert process.stdout is not None
    while "kd seed 0 4/6" not in process.stdout.readline():  # after the checkpoint of step 3
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    done = {file: file.stat().st_mtime_ns for file in tmp_path.glob("c/*/result.json")}
    assert {file.parent.name for file in done} >= {"teacher", "none-s0"}
    assert "| none | 1 of 1 |" in (tmp_path / "c/comparison.md").read_text()  # a table of what there is
    process = start(tmp_path / "c")
    said, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    if tmp_path / "c/kd-s0/result.json" not in done:  # it may have been faster than the signal
        assert "kd seed 0: resuming from step 3" in said
    assert {file: file.stat().st_mtime_ns for file in done} == done
    rows = json.loads((tmp_path / "c/comparison.json").read_text())["table"]
    assert [row["seeds"] for row in rows] == ["1 of 1", "1 of 1", "1 of 1", None]


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, two minutes at most."""
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_alive(number: int) -> bool:
    """Return True if a process runs, and has not ended as a zombie."""
    status = Path(f"/proc/{number}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the processes are counted in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_runs_at_the_same_time_stop_with_the_process_that_started_them(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path / "c", "--jobs", "2", "train.iterations=1000000", "train.validate_every=1000000")
    logs = [tmp_path / f"c/logs/{name}-s0.txt" for name in ("none", "kd")]
    until(lambda: all(log.exists() and " 2/1000000 " in log.read_text() for log in logs))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.send_signal(number)
    _, complaint = process.communicate(timeout=120)
    until(lambda: not any(is_alive(int(child)) for child in children))
    for log in logs:
        assert (tmp_path / f"c/{log.stem}/checkpoints/last.pt").exists()
    assert not (tmp_path / "c/gskd-s0/checkpoints").exists()  # it was not begun
    if number == signal.SIGTERM:
        assert process.returncode == 130
        assert complaint == "stopped; run the same command to resume\n"
