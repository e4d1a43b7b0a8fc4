"""Names of the file formats and the packages they need. This module does not import PyTorch."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

from segdistill.errors import UserError, unknown


class Format(NamedTuple):
    """One format of an exported student.

    Attributes:
        file: The name of the file.
        packages: The packages that write and run it, besides PyTorch.
    """

    file: str
    packages: tuple[str, ...]


_ONNX = ("onnx", "onnxscript", "onnxruntime")

FORMATS = {
    "onnx": Format("student.onnx", _ONNX),
    "int8": Format("student.int8.onnx", _ONNX),
    "pt2": Format("student.pt2", ()),
}

_READERS = ("openvino", "tensorrt", "executorch", "litert")


def check_formats(text: str) -> tuple[str, ...]:
    """Return the formats that a text such as ``"onnx,int8"`` names, each once, in the order of :data:`FORMATS`.

    Raises:
        UserError: An unknown format.
    """
    named = [name.strip() for name in text.split(",") if name.strip()]
    for name in named:
        if name in _READERS:
            raise UserError(
                f"format '{name}' is not written here; its tools read student.onnx or student.pt2 "
                "(docs/export.md); there are: onnx, int8, pt2"
            )
        if name not in FORMATS:
            raise unknown("format", name, FORMATS)
    if not named:
        raise UserError("--format names no format; there are: onnx, int8, pt2")
    return tuple(name for name in FORMATS if name in named)


def check_packages(formats: Sequence[str]) -> None:
    """Raise unless the packages that these formats need are installed. None of them is imported.

    Raises:
        UserError: A package is missing.
    """
    for name in formats:
        for package in FORMATS[name].packages:
            require(package, f"format '{name}'")


def require(package: str, what: str) -> None:
    """Raise unless a package of the extra ``export`` is installed.

    Raises:
        UserError: The package is missing; the message starts with ``what``.
    """
    if find_spec(package) is None:
        raise UserError(f'{what} needs the package {package}: pip install "segdistill[export]"')
