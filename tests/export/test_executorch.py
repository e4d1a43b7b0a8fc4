"""The file of ExecuTorch. Writing one takes half a minute, so one test looks at everything."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import segdistill
from segdistill.errors import UserError
from segdistill.jobs.export import bench, export
from tests.export.conftest import Exported, needs


def images(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_a_run_is_exported_loaded_and_measured(exported: Exported, tmp_path: Path, console) -> None:
    needs("executorch")
    from segdistill.export import executorch_runtime
    from segdistill.export.executorch_runtime import ExecutorchProgram

    folder = tmp_path / "run"
    shutil.copytree(exported.folder, folder, ignore=shutil.ignore_patterns("student.onnx", "*.int8.*", "*.openvino.*"))
    report = export(folder, formats="executorch", trust=True, console=console)

    record = report["formats"]["executorch"]
    assert record["equal"] >= 0.999
    assert record["difference"] < 1e-4
    assert [(each["batch"], each["height"], each["width"]) for each in record["checks"]] == [
        (1, 64, 90), (3, 128, 192), (1, 97, 131)
    ]  # fmt: skip
    assert record["megabytes"] == (folder / "student.pte").stat().st_size / 1e6
    assert record["largest"] == [160, 192]
    assert "one image at a time, up to 160x192" in " ".join(console.file.getvalue().split())

    measured = bench(folder, images=2, trust=True, console=console)
    assert list(measured) == ["pytorch", "pt2", "executorch"]
    assert measured["executorch"]["score"] == pytest.approx(measured["pytorch"]["score"], abs=1e-3)

    student = segdistill.load(folder / "student.pte")
    assert student.classes == tuple(report["metadata"]["classes"])
    batch = images(2, 71, 93)
    expected = segdistill.load(exported.folder / "student.onnx").predict_batch(batch)
    assert (student.predict_batch(batch) == expected).mean() > 0.999
    assert student.predict(images(1, 160, 192)[0]).shape == (160, 192)
    with pytest.raises(UserError, match="an image of 161x90 is larger than 160x192, the largest that the ExecuTorch"):
        student.predict(images(1, 161, 90)[0])

    content = (folder / "student.pte").read_bytes()
    first, second = ExecutorchProgram(content, 1), ExecutorchProgram(content, 2)
    classes, scores = first(batch)
    assert tuple(scores.shape) == (2, 10, 71, 93)
    assert (scores.argmax(1) == classes).all()
    before = executorch_runtime._threads.use(1)
    assert (second(batch)[0] == classes).all()  # with threads that replaced those of the first
    assert (first(batch)[0] == classes).all()
    assert first._loaded == executorch_runtime._threads.use(1) == before + 2

    (tmp_path / "x.pte").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(UserError, match=r"x.pte is damaged or was not written by segdistill; export the run again"):
        segdistill.load(tmp_path / "x.pte")


def test_the_largest_size() -> None:
    from segdistill.export.to_executorch import largest

    assert largest(64, 90) == (160, 192)
    assert largest(300, 90) == (300, 192)
