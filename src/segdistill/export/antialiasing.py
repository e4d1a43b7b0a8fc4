"""Antialiased bilinear resizing as two matrix products, for runtimes that get it wrong.

OpenVINO 2026.4 computes other weights than PyTorch; ExecuTorch 1.5 computes the largest size only.
"""

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import statically_known_true


def without_antialiasing(traced: ExportedProgram) -> ExportedProgram:
    """Return a traced program whose antialiased resizing, if there is any, is replaced by :func:`resized`."""
    antialiased = torch.ops.aten._upsample_bilinear2d_aa.vec
    if antialiased not in {node.target for node in traced.graph.nodes}:
        return traced

    def decomposed(x: Tensor, size: list[int], align_corners: bool, scales: list[float] | None = None) -> Tensor:
        height, width = size
        # Each pass of the scaling changes one side. The other product would be with a large identity matrix.
        if statically_known_true(height == x.shape[-2]):
            return x @ weights(width, x.shape[-1], x).T
        if statically_known_true(width == x.shape[-1]):
            return weights(height, x.shape[-2], x) @ x
        return resized(x, height, width)

    replaced: ExportedProgram = traced.run_decompositions({antialiased: decomposed})
    return replaced


def resized(x: Tensor, height: int, width: int) -> Tensor:
    """Return a map (N, C, H, W) resized as ``F.interpolate(..., mode="bilinear", antialias=True)`` does.

    Args:
        x: The map, float32.
        height, width: The new size.
    """
    return weights(height, x.shape[-2], x) @ x @ weights(width, x.shape[-1], x).T


def weights(count: int, length: int, like: Tensor) -> Tensor:
    """Return the (count, length) matrix of a triangle around ``(i + 1/2) n / k - 1/2`` for each row i.

    The triangle is as wide as a row is apart from the next, at least 1; each row sums to 1.
    """
    position = torch.arange(length, device=like.device).to(like.dtype)
    rows = torch.arange(count, device=like.device).to(like.dtype)
    total = torch.full((1,), 1, device=like.device, dtype=like.dtype)
    ratio = total * length / count
    distance = (position + 0.5 - (rows[:, None] + 0.5) * ratio).abs()
    triangle = (1 - distance / ratio.clamp(min=1)).clamp(min=0)
    return triangle / triangle.sum(1, keepdim=True)
