"""The number of threads: what may be used, less what others use now."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from segdistill.data.decoding.images import reading_threads
from segdistill.system import threads

BUSY, IDLE = 20, 20  # ticks of a sample


class Machine:
    """A fake of /proc and /sys with four cores, of which some are busy; time passes when somebody sleeps."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.load = root, [0, 0, 0, 0]
        self.ticks = [[100, 0, 0, 1000] for _ in self.load]
        self.used = 0.0
        self.usage: tuple[Path, float] | None = None
        (root / "proc/self").mkdir(parents=True)
        self.write()
        monkeypatch.setattr(threads.time, "sleep", self.sleep)
        monkeypatch.setattr(threads, "_allowed_cores", lambda: {0, 1, 2, 3})

    def write(self) -> None:
        lines = [f"cpu{i} {' '.join(map(str, ticks))} 0 0 0 0 7 7" for i, ticks in enumerate(self.ticks)]
        (self.root / "proc/stat").write_text("\n".join(["cpu 1 2 3 4 5", *lines, "intr 1"]))

    def sleep(self, seconds: float) -> None:
        for ticks, load in zip(self.ticks, self.load, strict=True):
            ticks[0] += round(BUSY * load)
            ticks[3] += round(IDLE * (1 - load))
        self.write()
        if self.usage is not None:
            file, cores = self.usage
            unit = 1e9 if file.name == "cpuacct.usage" else 1e6
            file.write_text(file.read_text().replace("5000000", str(5_000_000 + round(cores * seconds * unit))))

    def file(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def choose(self, **environment: str) -> threads.Threads:
        return threads.choose(self.root, environment=environment)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("load", "count"), [([0, 0, 0, 0], 4), ([1, 0, 0, 0], 3), ([1, 1, 1, 1], 1), ([0.3, 0, 0, 0], 4)]
)
def test_busy_cores_are_left_to_others(machine: Machine, load: list[float], count: int) -> None:
    machine.load = load
    chosen = machine.choose()
    assert chosen.count == count
    assert str(chosen).endswith(f"(4 cores, {sum(load):.1f} busy at start)")


def test_only_allowed_cores_count(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_allowed_cores", lambda: {2, 3})
    machine.load = [1, 1, 0, 0]
    assert str(machine.choose()) == "2 threads (2 cores, 0.0 busy at start)"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("group", ["/", "/docker/abc"])
def test_a_quota_of_a_container(machine: Machine, version: int, group: str) -> None:
    if version == 2:
        machine.file("proc/self/cgroup", f"0::{group}\n")
        machine.file(f"sys/fs/cgroup{group}/cpu.max", "max 100000\n")
        machine.file("sys/fs/cgroup/cpu.max", "200000 100000\n")
        usage = machine.file("sys/fs/cgroup/cpu.stat", "usage_usec 5000000\nuser_usec 1\n")
    else:
        machine.file("proc/self/cgroup", f"2:cpuacct:{group}\n1:cpu:{group}\n")
        machine.file(f"sys/fs/cgroup/cpu{group}/cpu.cfs_quota_us", "-1\n")
        machine.file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n")
        machine.file("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
        usage = machine.file("sys/fs/cgroup/cpuacct/cpuacct.usage", "5000000\n")
    assert str(machine.choose()) == "2 threads (4 cores, a quota of 2, 0.0 busy at start)"
    machine.usage = usage, 1.0  # another process in the container
    assert machine.choose().count == 1


def test_a_quota_above_the_cores_says_nothing(machine: Machine) -> None:
    machine.file("proc/self/cgroup", "0::/\n")
    machine.file("sys/fs/cgroup/cpu.max", "800000 100000\n")
    assert str(machine.choose()) == "4 threads (4 cores, 0.0 busy at start)"


@pytest.mark.parametrize(("quota", "count"), [("max", 4), ("250000", 2), ("20000", 1), ("800000", 4)])
def test_what_reads_ahead_counts_allowed_cores_busy_or_not(machine: Machine, quota: str, count: int) -> None:
    machine.load = [1, 1, 1, 1]
    machine.file("proc/self/cgroup", "0::/\n")
    machine.file("sys/fs/cgroup/cpu.max", f"{quota} 100000\n")
    assert threads.allowed_cores(machine.root) == count


def test_files_are_read_by_no_more_threads_than_cores_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_allowed_cores", lambda: {5})
    assert reading_threads() == 1


def test_processes_of_one_machine_share(machine: Machine) -> None:
    assert machine.choose(LOCAL_WORLD_SIZE="2").count == 2
    assert machine.choose(LOCAL_WORLD_SIZE="16").count == 1


@pytest.mark.parametrize(("given", "count"), [("3", 3), ("3,2", 3), ("0", 4), ("many", 4), ("", 4)])
def test_the_users_word_counts(machine: Machine, given: str, count: int) -> None:
    assert machine.choose(OMP_NUM_THREADS=given).count == count


def test_without_proc_all_cores(tmp_path: Path, machine: Machine) -> None:
    assert threads.choose(tmp_path / "elsewhere", environment={}).count == 4


def test_the_command_line_sets_what_the_user_did_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    monkeypatch.setenv("KMP_BLOCKTIME", "gone")
    monkeypatch.delenv("KMP_BLOCKTIME")
    threads.prepare()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    assert os.environ["KMP_BLOCKTIME"] == "1"
    code = "import os, segdistill.training.run; print('GOMP_SPINCOUNT' in os.environ)"
    clean = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"  # somebody's own program is left alone
