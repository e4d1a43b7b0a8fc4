"""Every example runs as it is, and fits on a screen."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from segdistill.data import Scenes, open_dataset

EXAMPLES = Path(__file__).parents[1] / "examples"
NEEDS = {"with_lightning": "lightning", "with_accelerate": "accelerate", "segformer_teacher": "transformers"}


def printed(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run an example in this process; return what it printed. Skip without the package it needs."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    text = capsys.readouterr().out
    assert "nan" not in text
    return text


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_it_is_short_and_tested(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 60
    assert f'"{file.stem}' in Path(__file__).read_text(encoding="utf-8")


def test_plain_pytorch(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed("plain_pytorch", capsys)
    for pair in ("Unet from DeepLabV3", "Sequential from Unet", "DeepLabV3 from Sequential"):
        assert pair in text
    assert text.count("total loss: [") == 3


def test_own_loss(capsys: pytest.CaptureFixture[str]) -> None:
    *wiring, first, last = printed("own_loss", capsys).splitlines()
    assert any("conv 1x1 8→32" in line for line in wiring)
    before, after = (eval(line.partition(": ")[2]) for line in (first, last))
    assert set(before) == {"task", "kd", "edges", "cosine"}
    assert all(after[name] < before[name] for name in before)


def test_segformer_teacher(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed("segformer_teacher", capsys)
    assert "decode_head.linear_fuse 64x32x32" in text
    assert text.count("total loss: ") == 2


@pytest.mark.filterwarnings("default")  # of the package
@pytest.mark.parametrize("name", ["with_lightning", "with_accelerate"])
def test_a_training_library(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "total loss: " in printed(name, capsys)


def test_ddp() -> None:
    # Its processes import the example by its path, so it must be the main module.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "ddp.py")], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "students are equal: True" in done.stdout


def test_street_images(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["street_images.py"])
    text = printed("street_images", capsys)
    assert text == "wrote 120 images for train and 30 images for val to my_images\n"
    for split in ("train", "val"):
        dataset = open_dataset("folder", "my_images", split)
        image, labels = dataset[0]
        expected = Scenes(split)[0]
        assert torch.equal(image, expected[0])
        assert torch.equal(labels, expected[1])
        assert dataset.classes.names == Scenes(split).classes.names
    assert len(list(Path("my_images/new").iterdir())) == 4
