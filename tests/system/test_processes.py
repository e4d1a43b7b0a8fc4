"""Processes that were started for a run end with it."""

import signal
import subprocess
import sys

from segdistill.system import processes

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def test_a_process_that_hears_nothing_is_killed() -> None:
    child = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"deaf\n"
    child.stdout.close()
    processes.note_started([child])
    processes.end_started(patience=0.1)
    assert child.returncode == -signal.SIGKILL
    processes.end_started()  # nothing is left
