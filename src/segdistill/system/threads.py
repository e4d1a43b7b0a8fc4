"""The number of threads to compute with: the cores that the process may use, less those that are busy now.

On a shared machine, PyTorch's default of one thread per core is many times slower than fewer threads: the threads of
one operation wait for each other, and each of them competes with other processes for its core. This module does not
import PyTorch.
"""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SAMPLE = 0.2
"""Seconds over which the load is measured. This gives the current load, not the average of the last minute."""

# Waiting threads sleep soon, because spinning takes time from other processes. GNU's OpenMP counts spins: 10000 of them
# take about ten microseconds, enough for the next operation to find its threads awake. Without any spinning, two
# threads on two idle cores are slower than one. Intel's and LLVM's OpenMP count milliseconds.
_SLEEPING = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}


@dataclass(frozen=True)
class Threads:
    """A number of threads and the reason for it.

    Attributes:
        count: The number, at least 1.
        reason: The reason in words, for the first line of a run.
    """

    count: int
    reason: str

    def __str__(self) -> str:
        return f"{self.count} thread{'' if self.count == 1 else 's'} ({self.reason})"


def prepare() -> None:
    """Set the variables that make waiting threads sleep, unless they are set. Call it before importing PyTorch."""
    for name, value in _SLEEPING.items():
        os.environ.setdefault(name, value)


def choose(root: Path = Path("/"), *, environment: Mapping[str, str] = os.environ) -> Threads:
    """Return the number of threads for this process.

    It is the number of cores that the process may use (by affinity and by the quota of a container) and that are idle
    now, divided by the number of processes of the run on this machine. ``OMP_NUM_THREADS`` overrides it.

    Args:
        root: The folder of proc/ and sys/.
        environment: The environment variables to read.
    """
    given = environment.get("OMP_NUM_THREADS", "").split(",")[0]
    if given.isdecimal() and int(given) > 0:
        return Threads(int(given), "OMP_NUM_THREADS")
    cores = _allowed_cores()
    quota = _Quota.find(root)
    before = _busy_ticks(root, cores)
    used = None if quota is None else quota.used()
    time.sleep(SAMPLE)
    busy = _busy_cores(before, _busy_ticks(root, cores), len(cores))
    idle = len(cores) - busy
    reason = f"{len(cores)} core{'' if len(cores) == 1 else 's'}"
    if quota is not None and quota.cores < len(cores):
        now = quota.used()
        idle = min(idle, quota.cores - (0.0 if now is None or used is None else (now - used) / SAMPLE))
        reason += f", a quota of {quota.cores:g}"
    processes = max(1, int(environment.get("LOCAL_WORLD_SIZE", "1")))
    if processes > 1:
        reason += f", {processes} processes"
    return Threads(max(1, int(idle / processes + 0.5)), f"{reason}, {busy:.1f} busy at start")


def allowed_cores(root: Path = Path("/")) -> int:
    """Return how many cores the process may use at a time, at least 1, whether they are busy or not.

    Args:
        root: The folder of proc/ and sys/.
    """
    quota = _Quota.find(root)
    return max(1, int(min(len(_allowed_cores()), math.inf if quota is None else quota.cores)))


def _allowed_cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))  # Python cannot read the affinity on macOS and Windows


def _busy_ticks(root: Path, cores: set[int]) -> tuple[int, int]:
    """Return the busy ticks and all ticks of the cores since the machine started."""
    worked = passed = 0
    for line in _lines(root / "proc/stat"):
        name, *fields = line.split()
        if name.startswith("cpu") and name[3:].isdecimal() and int(name[3:]) in cores:
            # user, nice, system, idle, iowait, irq, softirq, steal; the fields after these are part of user and nice.
            ticks = [int(field) for field in fields[:8]]
            passed += sum(ticks)
            worked += sum(ticks) - sum(ticks[3:5])
    return worked, passed


def _busy_cores(before: tuple[int, int], after: tuple[int, int], cores: int) -> float:
    worked, passed = after[0] - before[0], after[1] - before[1]
    return worked / passed * cores if passed > 0 else 0.0


@dataclass(frozen=True)
class _Quota:
    """The quota of a control group, such as a container, in cores."""

    cores: float
    usage: Path

    @classmethod
    def find(cls, root: Path) -> "_Quota | None":
        """Return the smallest quota of this process's group and its parents; None if none of them has a quota."""
        groups = []
        for line in _lines(root / "proc/self/cgroup"):
            number, controllers, group = line.split(":", 2)
            if number == "0" and not controllers:
                groups += [cls._version_2(folder) for folder in _upwards(root / "sys/fs/cgroup", group)]
            elif "cpu" in controllers.split(","):
                groups += [cls._version_1(folder) for folder in _upwards(root / "sys/fs/cgroup/cpu", group)]
        quotas = [quota for quota in groups if quota is not None]
        return min(quotas, key=lambda quota: quota.cores, default=None)

    @classmethod
    def _version_2(cls, folder: Path) -> "_Quota | None":
        words = " ".join(_lines(folder / "cpu.max")).split()
        if len(words) != 2 or not words[0].isdecimal():
            return None
        return cls(int(words[0]) / int(words[1]), folder / "cpu.stat")

    @classmethod
    def _version_1(cls, folder: Path) -> "_Quota | None":
        quota, period = (" ".join(_lines(folder / f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
        if not quota.isdecimal() or not period.isdecimal():
            return None
        return cls(
            int(quota) / int(period), Path(str(folder).replace("/cgroup/cpu", "/cgroup/cpuacct", 1), "cpuacct.usage")
        )

    def used(self) -> float | None:
        """Return the seconds of processor time that the group has used so far."""
        for line in _lines(self.usage):
            name, _, value = line.rpartition(" ")
            if name == "usage_usec":
                return int(value) / 1e6
            if not name and value.isdecimal():
                return int(value) / 1e9
        return None


def _upwards(top: Path, group: str) -> list[Path]:
    parts = [part for part in group.strip("/").split("/") if part not in ("", "..")]
    return [top.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
