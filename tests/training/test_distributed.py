"""Two processes on one machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from segdistill.runs.image_counts import read_image_counts
from segdistill.statistics.image_counts import rows_of
from tests.tiny import TINY


@pytest.mark.parametrize("replay", [[], ["teacher.replay=3"]], ids=["live", "replayed"])
def test_two_processes_train_what_one_trains(tmp_path: Path, replay: list[str]) -> None:
    # Without batch norm, and with means over pixels, the gradient of a batch is that of its halves, each with its share
    # of the pixels that are not void; DDP must then give the same student, and every image must be seen once.
    terms = ("method=kd", "terms.kd.labels=teacher_correct")
    changes = [*TINY, *terms, "baseline=false", "student.model=tests.networks:plain", *replay]
    students, logged = {}, {}
    for devices in (1, 2):
        folder = tmp_path / str(devices) / "run"
        command = [sys.executable, "-m", "segdistill", "distill", "quickstart", *changes, f"train.devices={devices}"]
        teacher = [] if devices == 1 else ["teacher.train=null", f"teacher.weights={tmp_path}/1/run/teacher"]
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
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        logged[devices] = [line for line in lines if line.pop("split") == "train"]
    # Each process has recorded half of the images, in passes of other sizes, whose rounding may change a code by 1.
    relative = 1e-3 if replay else 1e-4
    for one, two in zip(logged[1], logged[2], strict=True):
        assert two == pytest.approx(one, rel=relative)  # the values of the whole batch
    counts = {devices: read_image_counts(tmp_path / str(devices) / "run") for devices in (1, 2)}
    assert counts[1] is not None
    assert counts[2] is not None
    assert counts[2].images == counts[1].images == ("test_00000", "test_00001", "test_00002")
    labels = {devices: rows_of(each.entries, 3, (3,)) for devices, each in counts.items() if each is not None}
    assert labels[2] == labels[1]  # each image in its row
    for name, value in students[1].items():
        torch.testing.assert_close(students[2][name], value, rtol=relative, atol=relative / 100)
