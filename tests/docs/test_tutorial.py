"""The tutorial, block by block, in a folder like that of a clone. Only the packages are already installed."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import DOCS, ROOT, blocks

INSTALL = "pip install"
# Keys that cut the time: a few steps of training.
SHORT = "train.budget=0.02 teacher.train.budget=0.01 teacher.min_miou=0"


def test_the_tutorial_works(tmp_path: Path) -> None:
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    said = ""
    for language, block in blocks(text, "bash", "python"):
        if INSTALL in block:
            continue
        if language == "bash":
            words = [
                "bash",
                "-euo",
                "pipefail",
                "-c",
                re.sub(r"(mine\.yaml)$", rf"\1 {SHORT}", block, flags=re.MULTILINE),
            ]
        else:
            words = [sys.executable, "-c", block]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        said += done.stdout
    assert "student alone" in said
    assert "(96, 160)" in said
    run = tmp_path / "runs/mine-cwd-s0"
    assert {"student.onnx", "report.html", "teacher", "alone"} <= {file.name for file in run.iterdir()}
    assert len(list((tmp_path / "predictions").iterdir())) == 9  # overlay and labels of four images, and the legend
