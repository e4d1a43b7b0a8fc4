"""Each library loads the folder of its networks, with the outputs of the student."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from huggingface_hub import ModelCard
from rich.console import Console
from safetensors.torch import load_file
from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

from segdistill import models
from segdistill.errors import UserError
from segdistill.hub.facts import EXPORTED
from segdistill.jobs.hub import hub
from segdistill.models.names import ARCHITECTURES
from segdistill.models.wrapper import IMAGENET_MEAN, IMAGENET_STD
from tests.hub.folders import CLASSES, write_run

QUIET = Console(quiet=True)


def images(
    mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD, *, height: int = 64, width: int = 96
) -> torch.Tensor:
    """Two images, normalized."""
    pixels = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1))
    return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "linear"])
def test_smp_loads_its_networks(architecture: str, tmp_path: Path) -> None:
    """Both encoders expect a normalization that is not ImageNet's."""
    encoder, size = ("tu-vit_tiny_patch16_224", 224) if architecture == "dpt" else ("tu-test_resnet", 128)
    student = write_run(tmp_path / "run", f"{architecture}/{encoder}", size=size)
    folder = hub(tmp_path / "run", license="mit", out=tmp_path / "hub", console=QUIET)
    assert sorted(each.name for each in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    description = models.read_description(tmp_path / "run")
    mean, std = description["network_mean"], description["network_std"]
    assert mean != description["mean"]
    loaded = smp.from_pretrained(str(folder), strict=True).eval()
    with torch.inference_mode():
        ours = student(images(height=size, width=size)).logits
        theirs = loaded(images(mean, std, height=size, width=size))
        assert theirs.shape == (2, 3, size, size)
        if ours.shape != theirs.shape:  # smp upsamples in the network
            ours = F.interpolate(ours, size=theirs.shape[2:], mode="bilinear", align_corners=True)
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)
    assert f"normalized with mean {mean} and standard deviation {std}" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("model", "multiple"),
    [("fpn/tu-test_resnet", 32), ("deeplabv3plus/tu-test_resnet", 16), ("unet/tu-test_resnet", 1)],
)
def test_the_code_on_the_card_takes_images_of_any_size(model: str, multiple: int, tmp_path: Path) -> None:
    student = write_run(tmp_path / "run", model, size=128)
    folder = hub(tmp_path / "run", license="mit", out=tmp_path / "hub", console=QUIET)
    code = (folder / "README.md").read_text().split("```python\n", 1)[1].split("```", 1)[0]
    assert (f"% {multiple}" in code) == (multiple > 1)
    description = models.read_description(tmp_path / "run")
    normalized = (description["network_mean"], description["network_std"])
    found = {"images": images(*normalized, height=90, width=131)}
    with torch.inference_mode():
        exec(code.replace("FOLDER_OR_REPOSITORY", str(folder)), found)
        ours = student(images(height=90, width=131)).logits
    assert found["logits"].shape == (2, 3, 90, 131)
    expected = F.interpolate(ours, size=(90, 131), mode="bilinear", align_corners=True)
    assert (found["logits"].argmax(1) == expected.argmax(1)).float().mean() > 0.9  # upsampled before the crop
    if multiple > 1:
        padded = F.pad(found["images"], (0, {32: 29, 16: 13}[multiple], 0, 6))
        with torch.inference_mode():
            assert torch.equal(found["logits"], found["network"](padded)[:, :, :90, :131])


def test_transformers_loads_segformer(tmp_path: Path) -> None:
    student = write_run(tmp_path / "run", "segformer_b0")
    folder = hub(tmp_path / "run", license="mit", out=tmp_path / "hub", console=QUIET)
    loaded, report = SegformerForSemanticSegmentation.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())  # no missing, unexpected or mismatched tensor
    with torch.inference_mode():
        assert torch.equal(loaded.eval()(images()).logits, student(images()).logits)
    assert tuple(loaded.config.id2label.values()) == CLASSES
    processor = SegformerImageProcessor.from_pretrained(folder)
    assert (tuple(processor.image_mean), processor.do_resize) == (IMAGENET_MEAN, False)


@pytest.mark.parametrize("model", ["deeplabv3plus_resnet18", "torchvision/lraspp_mobilenet_v3_large"])
def test_segdistill_loads_the_others(model: str, tmp_path: Path) -> None:
    student = write_run(tmp_path / "run", model)
    folder = hub(tmp_path / "run", license="mit", out=tmp_path / "hub", console=QUIET)
    with torch.inference_mode():
        assert torch.equal(models.load(folder)(images()).logits, student(images()).logits)
    assert ModelCard.load(folder / "README.md").data.library_name == "segdistill"


def test_code_that_a_run_names_is_copied_not_imported(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "tests.networks:small")
    spec = json.loads((tmp_path / "run" / "student.json").read_text())
    (tmp_path / "run" / "student.json").write_text(json.dumps({**spec, "model": "no_such_module:build"}))
    folder = hub(tmp_path / "run", license="mit", out=tmp_path / "hub", console=QUIET)
    assert load_file(folder / "student.safetensors").keys() == load_file(tmp_path / "run/student.safetensors").keys()
    assert 'load("FOLDER", trust=True)' in (folder / "README.md").read_text()


def test_exported_files_come_along(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "tests.networks:small")
    (tmp_path / "run" / "student.onnx").write_bytes(bytes(120_000))
    folder = hub(tmp_path / "run", license="mit", console=QUIET)
    assert folder == tmp_path / "run" / "hub"
    assert (folder / "student.onnx").read_bytes() == bytes(120_000)
    card = (folder / "README.md").read_text()
    assert "| `student.onnx` | for ONNX Runtime | 0.12 MB |" in card


def test_every_exported_file_comes_along_with_what_it_returns(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "tests.networks:small")
    for name in EXPORTED:
        (tmp_path / "run" / name).write_bytes(bytes(100))
    written = {"openvino": {"written": True}, "executorch": {"written": True}, "int8": {"written": False}}
    last = {"metadata": {"output": "logits"}, "formats": {"pytorch": {}, **written}}
    (tmp_path / "run" / "export.json").write_text(json.dumps(last))
    card = (hub(tmp_path / "run", license="mit", console=QUIET) / "README.md").read_text()
    assert all(f"| `{name}` |" in card for name in EXPORTED)
    assert "| `student.openvino.xml` | for OpenVINO; returns the scores of the classes, float32 |" in card
    assert "| `student.pte` | for ExecuTorch; returns the scores of the classes, float32 |" in card
    assert "| `student.onnx` | for ONNX Runtime | " in card  # of an earlier export, which may have returned classes
    assert "| `student.int8.onnx` | for ONNX Runtime, with 8-bit integers | " in card  # the last export wrote none


def test_a_folder_with_content_is_left_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "tests.networks:small")
    (tmp_path / "hub").mkdir()
    hub(tmp_path / "run", license="mit", out=tmp_path / "hub", console=QUIET)  # an empty one is taken
    (tmp_path / "hub" / "private.txt").write_text("mine")
    before = sorted((tmp_path / "hub").iterdir())
    with pytest.raises(UserError, match=r"hub is not empty; delete it, or give another folder with --out"):
        hub(tmp_path / "run", license="mit", out=tmp_path / "hub", console=QUIET)
    assert sorted((tmp_path / "hub").iterdir()) == before


def test_a_failure_leaves_no_folder(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "unet/tu-test_resnet")
    (tmp_path / "run" / "student.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"student\.safetensors"):
        hub(tmp_path / "run", license="mit", out=tmp_path / "hub", console=QUIET)
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


def test_a_run_without_a_result_is_an_error(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "tests.networks:small")
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(UserError, match=r"result\.json does not exist; is the run finished\?"):
        hub(tmp_path / "run", license="mit", console=QUIET)
