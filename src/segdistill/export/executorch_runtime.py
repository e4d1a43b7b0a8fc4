"""A student that ExecuTorch computes."""

import json
from typing import Any

import torch
from torch import Tensor

from segdistill.data.decoding.images import Array
from segdistill.errors import UserError, first_line
from segdistill.export.trace import quiet

KEY = "segdistill"
"""The method of the file that returns the metadata."""


class ExecutorchProgram:
    """A program in memory, which computes one image at a time.

    Args:
        content: The content of the file.
        threads: Number of threads; by default ExecuTorch chooses it.

    Attributes:
        metadata: Facts of the file; ``largest`` is the greatest height and width.

    Raises:
        UserError: ExecuTorch does not fit the installed PyTorch.
    """

    def __init__(self, content: bytes, threads: int | None = None) -> None:
        _check_import()
        self._content, self._threads = content, threads or _threads.default()
        self._ready()
        self.metadata: dict[str, Any] = json.loads(self._program.load_method(KEY).execute([])[0])

    def __call__(self, images: Array) -> list[Tensor]:
        """Return the outputs for images (N, H, W, 3), each with the images in its first axis.

        Raises:
            UserError: The images are larger than those for which the file was written.
        """
        height, width = images.shape[1:3]
        rows, columns = self.metadata["largest"]
        if height > rows or width > columns:
            raise UserError(
                f"an image of {height}x{width} is larger than {rows}x{columns}, the largest that the ExecuTorch file "
                "takes; scale it, or use another format"
            )
        if self._loaded != _threads.use(self._threads):
            self._ready()
        outputs = [self._method.execute([torch.from_numpy(image[None])]) for image in images]
        return [torch.cat(each) for each in zip(*outputs, strict=True)]

    def _ready(self) -> None:
        from executorch.runtime import Runtime

        self._loaded = _threads.use(self._threads)
        self._program = Runtime.get().load_program(self._content)
        self._method = self._program.load_method("forward")


def _check_import() -> None:
    try:
        with quiet():
            import executorch.runtime  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"ExecuTorch cannot be imported: {first_line(error)[:200]}; install its release for PyTorch "
            f"{torch.__version__}"
        ) from error


class _Threads:
    """The threads of ExecuTorch, which all programs of a process share.

    A program holds on to the threads with which it was loaded, and must not run after these were replaced.
    """

    def __init__(self) -> None:
        self._replaced = 0
        self._default = 0

    def default(self) -> int:
        """Return the number that ExecuTorch has chosen."""
        from executorch.extension.pybindings import portable_lib

        self._default = self._default or portable_lib._threadpool_get_thread_count()
        return self._default

    def use(self, count: int) -> int:
        """Let there be this many threads, and return how often they have been replaced."""
        from executorch.extension.pybindings import portable_lib

        if portable_lib._threadpool_get_thread_count() != count:
            portable_lib._unsafe_reset_threadpool(count)
            self._replaced += 1
        return self._replaced


_threads = _Threads()
