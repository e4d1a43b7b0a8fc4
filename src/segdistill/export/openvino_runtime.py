"""OpenVINO: its import, and a student that it computes. PyTorch is not needed."""

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

from segdistill.data.decoding.images import Array

KEY = "segdistill"
"""The name under which the metadata are stored in the file."""


def imported() -> ModuleType:
    """Return the module ``openvino``, imported without the package that reports each import to Intel.

    OpenVINO does without ``openvino_telemetry`` if that is missing. Once it is imported, it sends without asking.
    """
    if "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            del sys.modules["openvino_telemetry"]
    import openvino

    module: ModuleType = openvino
    return module


@cache
def core() -> Any:
    """Return the ``openvino.Core`` of this process, which is kept until the process ends.

    OpenVINO gives the thread that compiles a model a stack for its signals, and frees the stack with the last model of
    a ``Core``. If another thread frees it, the next signal, such as Ctrl-C, ends the process without a message.
    """
    return imported().Core()


def read(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return the model in a file, and its metadata."""
    model = core().read_model(path)
    return model, json.loads(model.get_rt_info(KEY).astype(str))


def compiled(model: Any, threads: int | None = None) -> Callable[[Array], tuple[NDArray[Any], ...]]:
    """Return a function that computes all outputs of a model on the CPU, in float32.

    By default OpenVINO computes in bfloat16 on processors with AMX, which changes the classes of some pixels.

    Args:
        model: The model.
        threads: Number of threads; by default OpenVINO chooses it.
    """
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    ready = core().compile_model(model, "CPU", options)

    def run(images: Array) -> tuple[NDArray[Any], ...]:
        result = ready(images)
        return tuple(result[index] for index in range(len(ready.outputs)))

    return run
