"""Distil a large semantic-segmentation network into a small one.

A loss compares tensors; a Term says which tensors, with what weight, through which adapter; the Distiller joins
student, teacher and terms. Everything else stands around these three.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Distiller", "Ensemble", "Term", "losses", "models", "schedules"]

if TYPE_CHECKING:
    from segdistill import losses, models, schedules
    from segdistill.distiller import Distiller
    from segdistill.ensemble import Ensemble
    from segdistill.term import Term

_CLASSES = {"Distiller": "segdistill.distiller", "Ensemble": "segdistill.ensemble", "Term": "segdistill.term"}


def __getattr__(name: str) -> object:
    # Imported on first use, so that the command line answers --help and a mistyped key without PyTorch.
    if name in _CLASSES:
        return getattr(import_module(_CLASSES[name]), name)
    if name in __all__:
        return import_module(f"segdistill.{name}")
    raise AttributeError(f"module 'segdistill' has no attribute '{name}'")
