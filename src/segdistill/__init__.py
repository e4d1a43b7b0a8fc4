"""Distill a large semantic-segmentation network into a small one.

A loss compares tensors. A :class:`Term` selects the tensors, the weight and the adapter. A :class:`Distiller` joins
student, teacher and terms. Models, data, training, recipes and reports build on them; :func:`distill`, :func:`train`
and :func:`compare` run whole recipes.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from segdistill.version import __version__ as __version__

__all__ = [
    "Distiller",
    "Ensemble",
    "Run",
    "Term",
    "compare",
    "distill",
    "load",
    "losses",
    "method_terms",
    "models",
    "schedules",
    "train",
]

if TYPE_CHECKING:
    from segdistill import losses, models, schedules
    from segdistill.distillation.distiller import Distiller
    from segdistill.distillation.ensemble import Ensemble
    from segdistill.distillation.methods import method_terms
    from segdistill.distillation.term import Term
    from segdistill.export.runtime import load
    from segdistill.jobs.compare import compare
    from segdistill.jobs.distill import distill, train
    from segdistill.jobs.run import Run

_HOME = {
    "Distiller": "distillation.distiller",
    "Ensemble": "distillation.ensemble",
    "Run": "jobs.run",
    "Term": "distillation.term",
    "compare": "jobs.compare",
    "distill": "jobs.distill",
    "load": "export.runtime",
    "train": "jobs.distill",
    "method_terms": "distillation.methods",
}


def __getattr__(name: str) -> object:
    # Names are imported on first use, so that the command line answers --help and a mistyped key without PyTorch.
    if name in _HOME:
        return getattr(import_module(f"segdistill.{_HOME[name]}"), name)
    if name in __all__:
        return import_module(f"segdistill.{name}")
    raise AttributeError(f"module 'segdistill' has no attribute '{name}'")
