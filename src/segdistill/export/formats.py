"""Names of the file formats and the packages they need. This module does not import PyTorch."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

from segdistill.errors import UserError, unknown


class Format(NamedTuple):
    """One format of an exported student.

    Attributes:
        file: The name of the file.
        writers: The packages that write it, besides PyTorch.
        runtime: The package that runs it; empty for PyTorch.
        extra: The extras of segdistill that install these packages.
    """

    file: str
    writers: tuple[str, ...] = ()
    runtime: str = ""
    extra: str = "export"


FORMATS = {
    "onnx": Format("student.onnx", ("onnx", "onnxscript"), "onnxruntime"),
    "int8": Format("student.int8.onnx", ("onnx", "onnxscript"), "onnxruntime"),
    "pt2": Format("student.pt2"),
    "openvino": Format("student.openvino.xml", ("onnx", "onnxscript"), "openvino", "export,openvino"),
    "executorch": Format("student.pte", (), "executorch", "executorch"),
}

REPORT = "export.json"
"""The name of the report on the files of the last export."""

DEFAULT = "onnx,int8,pt2"
"""The formats that are written if none are named."""

FURTHER = {"openvino": (".bin",)}
"""The suffixes of further files of a format, in the same folder."""

_REFUSED = {
    "tensorrt": "an engine runs only on the kind of GPU that builds it; build it there: trtexec --onnx=student.onnx "
    "--saveEngine=student.engine --minShapes=images:1x64x64x3 --optShapes=images:1x512x512x3 "
    "--maxShapes=images:1x1024x1024x3",
    "litert": "litert-torch 0.10 replaces PyTorch by 2.14; for phones, give executorch",
}


def check_formats(text: str) -> tuple[str, ...]:
    """Return the formats that a text such as ``"onnx,int8"`` names, each once, in the order of :data:`FORMATS`.

    Raises:
        UserError: An unknown format.
    """
    named = [name.strip() for name in text.split(",") if name.strip()]
    for name in named:
        if name in _REFUSED:
            raise UserError(f"format '{name}' is not written here: {_REFUSED[name]}")
        if name not in FORMATS:
            raise unknown("format", name, FORMATS)
    if not named:
        raise UserError(f"--format names no format; there are: {', '.join(FORMATS)}")
    return tuple(name for name in FORMATS if name in named)


def files_of(name: str) -> tuple[str, ...]:
    """Return the names of all files of a format, the main one first."""
    stem = FORMATS[name].file.rpartition(".")[0]
    return (FORMATS[name].file, *(stem + suffix for suffix in FURTHER.get(name, ())))


def check_packages(formats: Sequence[str], *, writes: bool = True) -> None:
    """Raise unless the packages that these formats need are installed. None of them is imported.

    Args:
        formats: Names of :data:`FORMATS`.
        writes: Whether the files are to be written, and not only run.

    Raises:
        UserError: A package is missing.
    """
    for name in formats:
        format = FORMATS[name]
        for package in (*(format.writers if writes else ()), format.runtime):
            if package:
                require(package, f"format '{name}'", format.extra)


def require(package: str, what: str, extra: str = "export") -> None:
    """Raise unless a package is installed.

    Args:
        package: The package.
        what: What needs it, for the message.
        extra: The extras of segdistill that install it, joined by commas.

    Raises:
        UserError: The package is missing.
    """
    if find_spec(package) is None:
        raise UserError(f'{what} needs the package {package}: pip install "segdistill[{extra}]"')
