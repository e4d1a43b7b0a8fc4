"""The pair of OpenVINO files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openvino", reason="needs the extra openvino")

from segdistill.errors import UserError
from segdistill.export.openvino_runtime import compiled, read
from segdistill.export.to_openvino import to_openvino
from tests.export.conftest import Exported


def test_the_input_and_the_output(exported: Exported) -> None:
    model, metadata = read(exported.folder / "student.openvino.xml")
    images, classes = model.input(0), model.output(0)
    assert (images.any_name, images.element_type.get_type_name(), str(images.partial_shape)) == (
        "images", "u8", "[?,?,?,3]"
    )  # fmt: skip
    assert (classes.any_name, classes.element_type.get_type_name(), str(classes.partial_shape)) == (
        "classes", "u8", "[?,?,?]"
    )  # fmt: skip
    assert metadata == json.loads(json.dumps(exported.report["metadata"]))


def test_weights_stay_float32(exported: Exported) -> None:
    record = exported.report["formats"]["openvino"]
    weights = (exported.folder / "student.openvino.bin").stat().st_size
    assert weights > 0.8 * (exported.folder / "student.safetensors").stat().st_size - 4096
    assert record["difference"] < 1e-4


def test_without_pytorch_and_without_telemetry(exported: Exported, tmp_path: Path) -> None:
    code = (
        "import sys, numpy, segdistill\n"
        f"student = segdistill.load({str(exported.folder / 'student.openvino.xml')!r}, threads=1)\n"
        "print(student.predict(numpy.zeros((50, 61, 3), numpy.uint8)).shape)\n"
        "print([name for name in ('torch', 'openvino_telemetry') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout == "(50, 61)\n[]\n"
    assert list(tmp_path.iterdir()) == []  # where openvino_telemetry keeps the number of the user


def test_a_signal_after_another_thread_has_freed_a_student(exported: Exported) -> None:
    code = (
        "import signal, threading, numpy, segdistill\n"
        f"students = [segdistill.load({str(exported.folder / 'student.openvino.xml')!r}, threads=1)]\n"
        "students[0].predict(numpy.zeros((50, 61, 3), numpy.uint8))\n"
        "thread = threading.Thread(target=students.clear)\n"
        "thread.start()\n"
        "thread.join()\n"
        "signal.signal(signal.SIGINT, lambda *signals: print('heard'))\n"
        "signal.raise_signal(signal.SIGINT)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_computes_in_float32_also_where_bfloat16_is_faster(monkeypatch) -> None:
    from segdistill.export import openvino_runtime

    asked: list[dict] = []

    class Core:
        def compile_model(self, model, device, options):
            asked.append(options)

    monkeypatch.setattr(openvino_runtime, "core", Core)
    compiled(None, 1)
    compiled(None)
    assert asked == [
        {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}, {"INFERENCE_PRECISION_HINT": "f32"}
    ]  # fmt: skip


def test_a_model_that_openvino_cannot_read() -> None:
    import onnx

    node = onnx.helper.make_node("NoSuchOperation", ["images"], ["classes"])
    shapes = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, [1]) for name in ("images", "classes")]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "graph", shapes[:1], shapes[1:]))
    with pytest.raises(UserError, match=r"^OpenVINO cannot read the network: .*; try onnx$"):
        to_openvino(model, {"output": "classes"})
