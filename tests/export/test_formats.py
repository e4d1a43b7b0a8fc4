"""Formats and packages are checked before anything heavy is imported."""

import pytest

from segdistill.errors import UserError
from segdistill.export import formats
from segdistill.export.formats import DEFAULT, FORMATS, check_formats, check_packages, files_of


def test_named_formats_once_in_a_fixed_order() -> None:
    assert check_formats("pt2, onnx,onnx,") == ("onnx", "pt2")
    assert check_formats(",".join(FORMATS)) == ("onnx", "int8", "pt2", "openvino", "executorch")
    assert check_formats(DEFAULT) == ("onnx", "int8", "pt2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("onx", "unknown format 'onx'; did you mean 'onnx'?"),
        ("onnx,savedmodel", "unknown format 'savedmodel'; there are: executorch, int8, onnx, openvino, pt2"),
        ("", "--format names no format; there are: onnx, int8, pt2, openvino, executorch"),
        (
            "tensorrt",
            "format 'tensorrt' is not written here: an engine runs only on the kind of GPU that builds it; build it "
            "there: trtexec --onnx=student.onnx --saveEngine=student.engine --minShapes=images:1x64x64x3 ",
        ),
        ("litert", "format 'litert' is not written here: litert-torch 0.10 replaces PyTorch by 2.14; for phones, give"),
    ],
)
def test_other_formats(text: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        check_formats(text)
    assert str(raised.value).startswith(message)


def test_a_missing_package_is_named_with_the_extra(monkeypatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "onnxscript" else object())
    check_packages(["pt2"])
    with pytest.raises(UserError) as raised:
        check_packages(["pt2", "int8"])
    assert str(raised.value) == "format 'int8' needs the package onnxscript: pip install \"segdistill[export]\""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("openvino", "format 'openvino' needs the package openvino: pip install \"segdistill[export,openvino]\""),
        ("executorch", "format 'executorch' needs the package executorch: pip install \"segdistill[executorch]\""),
    ],
)
def test_a_missing_runtime_is_named_with_its_extra(name: str, message: str, monkeypatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda package: None if package == name else object())
    with pytest.raises(UserError) as raised:
        check_packages([name])
    assert str(raised.value) == message


def test_files_are_run_without_the_packages_that_write_them(monkeypatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name in ("onnx", "onnxscript") else object())
    check_packages(FORMATS, writes=False)
    with pytest.raises(UserError, match="format 'openvino' needs the package onnx: "):
        check_packages(["openvino"])


def test_files_of_a_format() -> None:
    assert files_of("onnx") == ("student.onnx",)
    assert files_of("openvino") == ("student.openvino.xml", "student.openvino.bin")
