"""One process at a time works on a folder, and the others wait."""

import fcntl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from segdistill.errors import UserError
from segdistill.system.folder_lock import alone_in

HOLDER = """
import sys, time
from pathlib import Path
from segdistill.system.folder_lock import alone_in
with alone_in(Path(sys.argv[1]), waits=lambda: None, remedy="use another"):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_one_waits_and_is_told(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with alone_in(tmp_path, waits=lambda: order.append("waits"), remedy="use another"):
            order.append("second")

    thread = threading.Thread(target=second)
    with alone_in(tmp_path, waits=lambda: order.append("never"), remedy="use another"):
        thread.start()
        while not order:
            pass
        order.append("first")
    thread.join()
    assert order == ["waits", "first", "second"]


def test_the_lock_of_a_killed_process_is_gone(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with alone_in(tmp_path, waits=lambda: pytest.fail("it is still locked"), remedy="use another"):
        pass


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with (
        pytest.raises(UserError, match="cannot be locked: No locks available; use another"),
        alone_in(tmp_path, waits=lambda: None, remedy="use another"),
    ):
        pass
