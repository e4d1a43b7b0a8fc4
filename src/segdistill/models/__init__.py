"""Networks that return SegOutput: those of the papers by name, any of smp and timm, and any other module.

Only the names are imported at once, everything else on first use: PyTorch and the model libraries take seconds to
import, and the command line answers ``--help`` and a mistyped name without them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from segdistill.models.names import check_name, license, names

if TYPE_CHECKING:
    from segdistill.models.builder import build
    from segdistill.models.student_files import load, read_description, save_student
    from segdistill.models.weights import LoadReport, load_weights
    from segdistill.models.wrapper import wrap

__all__ = [
    "LoadReport",
    "build",
    "check_name",
    "license",
    "load",
    "load_weights",
    "names",
    "read_description",
    "save_student",
    "wrap",
]

_HOME = {
    "LoadReport": "weights",
    "build": "builder",
    "load": "student_files",
    "load_weights": "weights",
    "read_description": "student_files",
    "save_student": "student_files",
    "wrap": "wrapper",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
