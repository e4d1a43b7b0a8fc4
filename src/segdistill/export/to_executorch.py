"""The student as a file of ExecuTorch with XNNPACK, for phones: one image at a time, up to a largest size."""

import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from segdistill.errors import UserError, first_line
from segdistill.export.antialiasing import without_antialiasing
from segdistill.export.executorch_runtime import KEY
from segdistill.export.program import Program, classes_of
from segdistill.export.trace import quiet, trace

_SMALLEST = (160, 192)
"""The least largest size: that of the example for the trace, which covers the sizes that are checked."""


class WithScores(nn.Module):
    """A program that returns classes and scores. ExecuTorch keeps both in memory anyway, so the second costs nothing.

    Args:
        program: The student as a program; one with ``raw`` returns its scores alone.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for images, uint8 (1, H, W, 3)."""
        scores = self.program.scores(images)
        return (scores,) if self.program.raw else (classes_of(scores), scores)


def largest(height: int, width: int) -> tuple[int, int]:
    """Return the largest size that a file takes, for images of this size."""
    return max(height, _SMALLEST[0]), max(width, _SMALLEST[1])


def to_executorch(program: Program, size: tuple[int, int], metadata: Mapping[str, Any]) -> bytes:
    """Return the content of the file, whose outputs are classes and scores.

    Args:
        program: The student as a program.
        size: The greatest height and width, for which memory is planned.
        metadata: Facts for users of the file.

    Raises:
        UserError: PyTorch cannot trace the network for a range of sizes, or ExecuTorch cannot compute it.
    """
    traced = without_antialiasing(trace(WithScores(program), size))
    stored = json.dumps({**metadata, "largest": size})
    try:
        with quiet():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            lowered = to_edge_transform_and_lower(
                traced, partitioner=[XnnpackPartitioner()], constant_methods={KEY: stored}
            )
            return bytes(lowered.to_executorch().buffer)
    except Exception as error:  # ExecuTorch raises anything
        raise UserError(f"ExecuTorch cannot write the network: {first_line(error)[:200]}; try onnx") from error
