"""The lines of docs/runs.md load student.safetensors, with segdistill and with the libraries of the networks alone."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from segdistill import models
from segdistill.models.wrapper import Wrapped
from segdistill.outputs import read_output

PAGE = (Path(__file__).parents[2] / "docs" / "runs.md").read_text(encoding="utf-8")
SEGDISTILL, SMP, TORCHVISION, TRANSFORMERS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SEGMENTS = '"lraspp_mobilenet_v3_large", weights=None, weights_backbone=None'
B4 = "num_labels=4, depths=[3, 8, 27, 3], hidden_sizes=[64, 128, 320, 512], decoder_hidden_size=768"


def saved(name: str, folder: Path) -> nn.Module:
    """Return a network of four classes with varied batch statistics, saved as the student of a run."""
    torch.manual_seed(0)
    network = models.build(name, 4).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
    models.save_student(network, folder / "runs" / "folder-dist-s0", name=name, num_classes=4)
    return network


def loaded(lines: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(lines, names)
    return names["student"].eval()


@pytest.mark.parametrize("name", models.names())
def test_segdistill_loads_every_named_network(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = saved(name, tmp_path), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        same = torch.equal(loaded(SEGDISTILL, tmp_path, monkeypatch)(images).logits, network(images).logits)
    assert same


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("unet/resnet18", SMP),
        ("deeplabv3plus/tu-test_resnet", SMP.replace('"unet", "resnet18"', '"deeplabv3plus", "tu-test_resnet"')),
        ("fpn/mobilenet_v2", SMP.replace('"unet", "resnet18"', '"fpn", "mobilenet_v2"')),
        ("torchvision/lraspp_mobilenet_v3_large", TORCHVISION),
        ("torchvision/fcn_resnet50", TORCHVISION.replace("lraspp_mobilenet_v3_large", "fcn_resnet50")),
        ("resnet18", TORCHVISION.replace(SEGMENTS, '"resnet18"')),
        ("resnet34", TORCHVISION.replace(SEGMENTS, '"resnet34"')),
        ("segformer_b0", TRANSFORMERS),
        ("segformer_b4", TRANSFORMERS.replace("num_labels=4", B4)),
    ],
)  # fmt: skip
def test_its_library_loads_the_file(name: str, lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = saved(name, tmp_path)
    inner = network.network if isinstance(network, Wrapped) else network
    theirs, images = loaded(lines, tmp_path, monkeypatch), torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        ours, found = read_output(inner(images)).logits, read_output(theirs(images)).logits
    if found.shape != ours.shape:  # the library upsamples in the network
        align = name.partition("/")[0] in ("unet", "deeplabv3plus", "fpn")
        ours = nn.functional.interpolate(ours, found.shape[2:], mode="bilinear", align_corners=align)
    torch.testing.assert_close(found, ours, rtol=1e-4, atol=1e-4)
