"""Fixtures for every test: a seeded generator, a console, the golden numbers of released code."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

GOLDEN = Path(os.environ.get("SEGDISTILL_GOLDEN", Path(__file__).parents[2] / "shared" / "golden"))
HOW_TO_MAKE = (
    "set SEGDISTILL_GOLDEN to a folder with golden files; "
    "`python -m tests.losses.reference.make` lists the repositories that give them"
)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def console() -> Console:
    """Return a console that keeps what it prints; read it with ``said(console)``."""
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def golden() -> Callable[[str], dict[str, Tensor]]:
    """Load the arrays of one golden file as tensors, by the file's name without its ending."""

    def load(name: str) -> dict[str, Tensor]:
        path = GOLDEN / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"{path.name} is missing: {HOW_TO_MAKE}")
        with np.load(path) as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays}

    return load
