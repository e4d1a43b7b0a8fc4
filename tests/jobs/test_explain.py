"""Figures of finished runs by the command, and its errors."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from segdistill.cli import main
from segdistill.errors import UserError
from segdistill.explain import feature_map
from segdistill.jobs.explain import explain
from segdistill.training.run import distill
from tests.tiny import said, tiny


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run. Its tests do not change what training wrote."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    distill(tiny(), folder, console=Console(quiet=True))
    return folder


def names(folder: Path) -> set[str]:
    return {file.name for file in (folder / "figures" / "explain").iterdir()}


def test_of_the_data_set(finished: Path, tmp_path: Path, console: Console) -> None:
    pytest.importorskip("sklearn")
    folder = shutil.copytree(finished, tmp_path / "run")
    files = explain([folder], count=2, trust=True, console=console)
    kinds = ("grad_cam", "class_distributions", "gskd")
    expected = {f"{kind}_{number}_test_0000{image}.png" for kind in kinds for number, image in ((1, 0), (2, 2))}
    assert {file.name for file in files} == names(folder) == expected | {"class_similarities.png", "feature_map.png"}
    accuracies = [line for line in said(console).splitlines() if line.startswith("5-nearest-neighbor accuracy")]
    assert [line.partition("pixels, ")[2].partition(":")[0] for line in accuracies] == [
        "teacher", "student alone", "gskd"
    ]  # fmt: skip
    assert all(np.asarray(Image.open(file)).std() > 1 for file in files)


def test_of_a_file_without_scikit_learn(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    monkeypatch.setattr(feature_map, "find_spec", lambda _: None)
    folder = shutil.copytree(finished, tmp_path / "run")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (36, 50, 3), np.uint8)).save(tmp_path / "my photo.png")
    explain([folder], count=1, trust=True, console=console)
    assert "grad_cam_1_test_00000.png" in names(folder)
    explain([folder], images=[tmp_path / "my photo.png"], feature="stem", trust=True, console=console)
    assert names(folder) == {
        "grad_cam_1_my_photo.png", "class_distributions_1_my_photo.png", "gskd_1_my_photo.png", "class_similarities.png"
    }  # fmt: skip
    assert 't-SNE is left out; it needs scikit-learn: pip install "segdistill[explain]"' in said(console)


def test_a_run_without_its_teacher(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    monkeypatch.setattr(feature_map, "find_spec", lambda _: None)
    folder = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(folder / "teacher")
    explain([folder, folder / "alone"], count=1, trust=True, console=console)
    assert "the teacher is not in the figures" in said(console)
    assert "GSKD's samples are left out; they need the teacher" in said(console)
    assert not [name for name in names(folder) | names(folder / "alone") if name.startswith("gskd")]


def test_mistakes_are_one_line(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "comparison.json").write_text("{}")
    for arguments, expected in (
        ([finished], "names code to import"),
        ([tmp_path], "holds several runs"),
        ([tmp_path / "nowhere"], "not a run's folder"),
        ([finished, "--trust", "--image", "no.png"], "no such picture: no.png"),
        ([finished, "--trust", "--feature", "haed"], "unknown feature of"),
    ):
        monkeypatch.setattr(sys, "argv", ["segdistill", "explain", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        error = capsys.readouterr().err
        assert ended.value.code == 2
        assert error.startswith("error: ")
        assert expected in error
    with pytest.raises(UserError, match="no such picture"):
        explain([finished], images=["no.png"])
