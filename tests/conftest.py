"""Fixtures for every test: a seeded generator, a console, the reference numbers of released code."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

GOLDEN = Path(__file__).parents[2] / "shared" / "golden"


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def console() -> Console:
    """A console that keeps what is said; read it with ``said(console)``."""
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def golden() -> Callable[[str], dict[str, Tensor]]:
    """Arrays of one reference file as tensors, by the file's name without its ending."""

    def load(name: str) -> dict[str, Tensor]:
        path = GOLDEN / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"needs the reference numbers in ../shared/golden, {path.name} is not there")
        with np.load(path) as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays}

    return load
