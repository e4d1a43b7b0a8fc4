"""The student as a file of torch.export, for Python with PyTorch and for AOTInductor."""

import io
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from segdistill.errors import UserError, first_line
from segdistill.export.trace import quiet

METADATA = "segdistill.json"
"""The name of the metadata inside the file."""


def to_pt2(exported: ExportedProgram, metadata: Mapping[str, Any]) -> bytes:
    """Return the content of the file.

    Args:
        exported: The traced program.
        metadata: Facts for users of the file.

    Raises:
        UserError: The network has an operation that the file cannot hold.
    """
    file = io.BytesIO()
    try:
        with quiet():
            torch.export.save(exported, file, extra_files={METADATA: json.dumps(metadata)})
    except Exception as error:  # PyTorch raises anything
        raise UserError(f"PyTorch cannot save the network as pt2: {first_line(error)[:200]}; try onnx") from error
    return file.getvalue()


class ScoreReader(torch.fx.Interpreter):
    """An interpreter of an exported program that keeps the scores, from which the classes are computed."""

    scores: Tensor | None = None

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation."""
        if target is torch.ops.aten.argmax.default:
            self.scores = args[0]
        return super().call_function(target, args, kwargs)
