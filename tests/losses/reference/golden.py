"""Golden files: their inputs, and how far results are from what they hold."""

from pathlib import Path

import numpy as np
import torch

from tests.losses.reference.case import Case
from tests.losses.reference.inputs import Tensors


def read(path: Path, case: Case) -> tuple[Tensors, Tensors]:
    """Return the inputs of a golden file, and everything else that it holds."""
    with np.load(path) as arrays:
        held = {name: torch.from_numpy(arrays[name]) for name in arrays}
    inputs = {name: x for name, x in held.items() if name in case.inputs or name.startswith("w_")}
    return inputs, {name: x for name, x in held.items() if name not in inputs}


def difference(results: Tensors, golden: Tensors) -> float:
    """Return the largest difference of a result, as a part of the largest number of the golden one.

    It is infinite where a loss or a gradient has no result. Of the rest, a file also holds settings.
    """
    parts = [0.0]
    for name, x in golden.items():
        if name in results:
            apart = (results[name].double() - x).abs().max().item()
            parts.append(apart / max(x.abs().max().item(), 1e-30))
        elif name.startswith(("loss", "grad_")):
            parts.append(float("inf"))
    return max(parts)


def write(path: Path, tensors: Tensors) -> None:
    """Write a golden file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: x.detach().numpy() for name, x in tensors.items()})
