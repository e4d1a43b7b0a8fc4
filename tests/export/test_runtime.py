"""A student from any file, which segments images."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segdistill
from segdistill.errors import UserError
from segdistill.export import formats
from segdistill.export.formats import FORMATS
from segdistill.export.openvino_runtime import imported
from segdistill.export.runtime import Student
from tests.export.conftest import INSTALLED, Exported

FILES = (*(FORMATS[name].file for name in INSTALLED if name != "int8"), "student.safetensors", ".")


def image(height: int = 71, width: int = 93) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", FILES)
def test_every_file_predicts_as_the_run(name: str, exported: Exported, tmp_path: Path) -> None:
    student = segdistill.load(exported.folder / name, trust=True)
    labels = student.predict(image())
    assert (labels.shape, labels.dtype) == ((71, 93), np.uint8)
    assert (labels == segdistill.Run(exported.folder, trust=True).predict(image())).mean() > 0.99
    assert student.classes[:2] == ("sky", "building")
    assert len(student.palette) == 10
    Image.fromarray(image()).save(tmp_path / "image.png")
    assert np.array_equal(student.predict(tmp_path / "image.png"), labels)
    batch = student.predict_batch(np.stack([image(), image()]))
    assert np.array_equal(batch[1], labels)


def test_an_onnx_file_needs_no_pytorch(exported: Exported) -> None:
    code = (
        "import sys, numpy, segdistill\n"
        f"student = segdistill.load({str(exported.folder / 'student.int8.onnx')!r}, threads=1)\n"
        "print(student.predict(numpy.zeros((50, 61, 3), numpy.uint8)).shape, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(50, 61) False\n"


def test_the_pages_lines_run(exported: Exported, monkeypatch) -> None:
    import onnxruntime
    import torch

    page = (Path(__file__).parents[2] / "docs/export.md").read_text(encoding="utf-8")
    monkeypatch.chdir(exported.folder)
    images = np.stack([image(), image()])
    names = {"images": images, "onnxruntime": onnxruntime, "torch": torch}
    lines = [line for line in page.splitlines() if line.startswith("classes = ")]
    assert len(lines) == 3
    if "openvino" in INSTALLED:
        names["openvino"] = imported()
    else:
        lines = [line for line in lines if "openvino" not in line]
    for line in lines:
        exec(line, names)
        same = names["classes"] == segdistill.load("student.onnx").predict_batch(images)
        assert same.mean() > 0.999 if "openvino" in line else same.all()


def test_scores_become_classes() -> None:
    scores = np.array([[[[0.0, 2.0]], [[1.0, 1.0]]]], dtype=np.float32)
    student = Student(lambda images: scores, {"output": "logits", "classes": ["a", "b"]})
    assert student.predict(image()).tolist() == [[1, 0]]


@pytest.mark.parametrize("suffix", [Path(FORMATS[name].file).suffix for name in INSTALLED if name != "int8"])
def test_a_damaged_file(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"x{suffix}").write_bytes(b"nothing of the kind")
    with pytest.raises(
        UserError, match=rf"x{suffix} is damaged or was not written by segdistill; export the run again"
    ):
        segdistill.load(tmp_path / f"x{suffix}")


def test_other_files(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(UserError, match="does not exist; give an exported file or the folder of a run"):
        segdistill.load(tmp_path / "x.onnx")
    (tmp_path / "x.pth").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"x.pth is no student: expected .onnx, .pt2, .xml, .pte, .safetensors or the folder"
    ):
        segdistill.load(tmp_path / "x.pth")
    (tmp_path / "x.onnx").write_bytes(b"")
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'x.onnx needs the package onnxruntime: pip install "segdistill\[export\]"'):
        segdistill.load(tmp_path / "x.onnx")


@pytest.mark.parametrize("pixels", [image()[..., 0], image().astype(np.float32), image()[..., :2]])
def test_other_pixels(pixels: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"pixels are uint8 \(H, W, 3\), got "):
        Student(lambda images: images, {}).predict(pixels)
