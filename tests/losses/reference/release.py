"""Modules of a repository at its commit, without its training code and without CUDA."""

import io
import math
import subprocess
import sys
import tarfile
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch

from tests.losses.reference.repositories import Repository

# What the authors' files import and their losses do not use, or use for one function.
STUBS = {
    "turtle": mock.MagicMock(),
    "scipy": mock.MagicMock(),
    "scipy.stats": SimpleNamespace(norm=SimpleNamespace(cdf=lambda x: math.erfc(-x / math.sqrt(2)) / 2)),
    "cv2": mock.MagicMock(),
    "mmcv.runner.checkpoint": mock.MagicMock(),
    "models_dinov2": mock.MagicMock(),
    "torchdistill": mock.MagicMock(),
    "torchdistill.common": mock.MagicMock(),
    "torchdistill.common.constant": mock.MagicMock(),
    "torchdistill.feature_visualization": mock.MagicMock(),
}


class Release:
    """The files of ``repository`` at its commit, unpacked in ``folder``."""

    def __init__(self, repository: Repository, clone: Path, folder: Path) -> None:
        archive = subprocess.run(
            ["git", "-C", clone, "archive", repository.commit, "*.py"], check=True, capture_output=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        self.folder = folder
        self.package = "release_" + repository.name.replace("-", "_")

    def __call__(
        self, path: str, *, replace: tuple[str, str] = ("", ""), stubs: dict[str, object] | None = None
    ) -> types.ModuleType:
        """Run the file at ``path`` as a module; its packages run no code of their own.

        Args:
            path: Of the file in the repository.
            replace: A text of the file and what takes its place.
            stubs: Further modules that it imports, by their name inside the repository.
        """
        *parents, _ = parts = Path(path).with_suffix("").parts
        for depth in range(len(parents) + 1):
            package = types.ModuleType(".".join([self.package, *parents[:depth]]))
            package.__path__ = [str(self.folder.joinpath(*parents[:depth]))]
            sys.modules[package.__name__] = package
        inside = {f"{self.package}.{name}": module for name, module in (stubs or {}).items()}
        module = types.ModuleType(".".join([self.package, *parts]))
        module.__package__ = ".".join([self.package, *parents])
        source = (self.folder / path).read_text()
        with mock.patch.dict(sys.modules, STUBS | inside):
            exec(compile(source.replace(*replace) if replace[0] else source, path, "exec"), module.__dict__)
        return module


@contextmanager
def without_cuda(dtype: torch.dtype) -> Iterator[None]:
    """Run in ``dtype`` on the CPU: what moves to CUDA stays, and batch normalization is of one process."""
    before = torch.get_default_dtype()
    real = torch.DoubleTensor if dtype == torch.float64 else torch.FloatTensor
    with (
        mock.patch.object(torch.Tensor, "cuda", lambda self: self),
        mock.patch.object(torch.nn.Module, "cuda", lambda self: self),
        mock.patch.object(torch.nn, "SyncBatchNorm", torch.nn.BatchNorm2d),
        mock.patch.object(torch, "FloatTensor", real),
    ):
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
