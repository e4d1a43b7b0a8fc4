"""Which figures a later call removes."""

from pathlib import Path

import numpy as np
from PIL import Image

from segdistill.explain.figures import sheet
from segdistill.explain.files import remove_others


def written(folder: Path, *names: str) -> list[Path]:
    cell = np.zeros((4, 4, 3), np.uint8)
    return [sheet(folder / name, "Title", ["one"], [("", [cell])]) for name in names]


def test_figures_of_an_earlier_call_are_removed_and_files_of_the_user_stay(tmp_path: Path) -> None:
    old = ("grad_cam_1_a.png", "class_distributions_2_b.png", "gskd_3_c.png", "feature_map.png")
    written(tmp_path, *old)
    kept = written(tmp_path, "grad_cam_1_b.png", "class_similarities.png")
    written(tmp_path, "copy of grad_cam_1_a.png", "grad_cam_mine.png")  # names that explain does not write
    Image.new("RGB", (2, 2)).save(tmp_path / "grad_cam_9_drawn.png")  # not by explain
    (tmp_path / "gskd_1_notes.png").write_text("no picture")
    (tmp_path / "gskd_2_folder.png").mkdir()
    remove_others(tmp_path, kept)
    assert {file.name for file in tmp_path.iterdir()} == {
        "grad_cam_1_b.png", "class_similarities.png", "copy of grad_cam_1_a.png", "grad_cam_mine.png",
        "grad_cam_9_drawn.png", "gskd_1_notes.png", "gskd_2_folder.png",
    }  # fmt: skip
