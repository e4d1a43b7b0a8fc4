"""The examples run as they stand."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_plain_pytorch(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "plain_pytorch.py"), run_name="__main__")
    said = capsys.readouterr().out
    for pair in ("Unet from DeepLabV3", "Sequential from Unet", "DeepLabV3 from Sequential"):
        assert pair in said
    assert said.count("total loss: [") == 3
    assert "nan" not in said
