"""Two processes on one machine."""

import subprocess
import sys
from pathlib import Path

import torch

from tests.tiny import TINY


def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    # Without batch norm, and with KD as the only pull (a mean over all pixels), the gradient of a batch is the mean
    # of the gradients of its halves; DDP must then give the same student, and every image must be seen once.
    only_kd = ("method=kd", "terms.task.loss=cross_entropy", "terms.task.weight=0")
    changes = [*TINY, *only_kd, "baseline=false", "student.model=tests.networks:plain"]
    students = {}
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        command = [sys.executable, "-m", "segdistill", "distill", "quickstart", *changes, f"train.devices={devices}"]
        teacher = [] if devices == 1 else ["teacher.train=null", f"teacher.weights={tmp_path}/1/teacher"]
        done = subprocess.run(
            [*command, *teacher, "--run-dir", str(folder)],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("distilled 6/6") == 1  # the second process is silent
        students[devices] = torch.load(folder / "checkpoints/last.pt", weights_only=True)["distiller"]
    for name, value in students[1].items():
        torch.testing.assert_close(students[2][name], value, rtol=1e-4, atol=1e-6)
