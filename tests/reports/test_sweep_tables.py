"""The table of a sweep, from records by hand."""

import io
import json
from pathlib import Path

from rich.console import Console

from segdistill.reports.sweep_tables import Trial, sweep_tables
from segdistill.reports.table import on_screen
from tests.reports.test_summary import RECIPE

KEY = "train.learning_rate"


def test_small_values_of_a_key_differ_on_the_screen_and_in_every_file(tmp_path: Path) -> None:
    trials = []
    for number, (rate, score) in enumerate(((1e-5, 0.4), (4.9e-5, 0.5), (0.01, 0.3))):
        folder = tmp_path / f"trial-00{number}"
        folder.mkdir()
        record = {"miou": score, "val_miou": score, "iou": {}, "seconds": 1.0, "params": 1, "split": "val"}
        (folder / "result.json").write_text(json.dumps(record))
        trials.append(Trial(folder, {KEY: rate}))
    tables = sweep_tables(trials, {**RECIPE, "method": "kd"}, [KEY])
    files = tables.files()
    assert "| trial-001 | 4.9e-05 | 50.00 |" in files["sweep.md"]
    assert "| trial-000 | 1e-05 | 40.00 |" in files["sweep.md"]
    assert "| trial-002 | 0.01 | 30.00 |" in files["sweep.md"]
    assert "trial-000 & 1e-05 & 40.00" in files["sweep.tex"]
    console = Console(file=io.StringIO(), width=100)
    console.print(on_screen(tables.trials))
    assert "4.9e-05" in console.file.getvalue()  # type: ignore[attr-defined]
