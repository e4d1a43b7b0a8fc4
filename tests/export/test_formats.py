"""Formats and packages are checked before anything heavy is imported."""

import pytest

from segdistill.errors import UserError
from segdistill.export import formats
from segdistill.export.formats import FORMATS, check_formats, check_packages


def test_named_formats_once_in_a_fixed_order() -> None:
    assert check_formats("pt2, onnx,onnx,") == ("onnx", "pt2")
    assert check_formats(",".join(FORMATS)) == ("onnx", "int8", "pt2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("onx", "unknown format 'onx'; did you mean 'onnx'?"),
        ("onnx,savedmodel", "unknown format 'savedmodel'; there are: int8, onnx, pt2"),
        ("", "--format names no format; there are: onnx, int8, pt2"),
        ("tensorrt", "format 'tensorrt' is not written here; its tools read student.onnx or student.pt2"),
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
