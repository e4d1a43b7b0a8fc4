"""The class of every pixel, without the upsampled logits of all classes in memory where these are large."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.errors import UserError
from segdistill.evaluation.class_scores import ONE_PASS, Forward, aligns, class_scores, forward_logits, is_one_pass
from segdistill.recipes.schema import Evaluation

BYTES = 2**28
"""The largest map of upsampled logits, in bytes. A larger one is made in pieces: image by image, then by classes."""


def best_classes(
    network: nn.Module,
    images: Tensor,
    size: tuple[int, int],
    protocol: Evaluation = ONE_PASS,
    forward: Forward = forward_logits,
    void: Sequence[int] = (),
) -> Tensor:
    """Return the class of every pixel, int64 (N, *size), equal to the argmax of :func:`class_scores`.

    Scores of several passes or windows are not computed in pieces.

    Args:
        network, images, size, protocol, forward: See :func:`class_scores`.
        void: Classes that are never predicted.
    """
    if is_one_pass(protocol, images):
        return upsampled_argmax(forward(network, images).float(), size, aligns(network), void)
    return _argmax(class_scores(network, images, size, protocol, forward), void)


def upsampled_argmax(
    logits: Tensor, size: tuple[int, int], align_corners: bool, void: Sequence[int] = (), limit: int = BYTES
) -> Tensor:
    """Return the argmax over the classes of bilinearly upsampled logits.

    Args:
        logits: Float32, of shape (N, C, h, w).
        size: The height and width of the result.
        align_corners: See ``torch.nn.functional.interpolate``.
        void: Classes that are never chosen.
        limit: The largest map of upsampled logits, in bytes.

    Returns:
        Int64, of shape (N, *size). Every class is interpolated alone, so pieces give the same result.

    Raises:
        UserError: The logits have another shape, such as those of a network that classifies images.
    """
    if logits.dim() != 4:
        raise UserError(
            f"the network gives scores of shape {tuple(logits.shape)}, not (N, C, H, W): it classifies images; give "
            "one that segments"
        )
    count, classes = logits.shape[:2]
    of_class = 4 * size[0] * size[1]
    if count * classes * of_class <= limit:
        return _argmax(_upsampled(logits, size, align_corners), void)
    if count > 1:
        return torch.cat([upsampled_argmax(each[None], size, align_corners, void, limit) for each in logits])
    best, chosen = None, None
    at_a_time = max(1, limit // of_class)
    for first in range(0, classes, at_a_time):
        piece = _upsampled(logits[:, first : first + at_a_time], size, align_corners)
        values, indices = _without(piece, [each - first for each in void]).max(1)
        if best is None or chosen is None:
            best, chosen = values, indices
        else:
            is_better = (values > best) | (values.isnan() & ~best.isnan())  # as argmax: NaN first, then the first class
            best = torch.where(is_better, values, best)
            chosen = torch.where(is_better, indices + first, chosen)
    assert chosen is not None
    return chosen


def _argmax(scores: Tensor, void: Sequence[int]) -> Tensor:
    return _without(scores, void).max(1).indices  # equal to argmax; on a CPU, several times as fast


def _without(scores: Tensor, void: Sequence[int]) -> Tensor:
    for index in void:
        if 0 <= index < scores.shape[1]:
            scores[:, index] = -torch.inf
    return scores


def _upsampled(logits: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    return F.interpolate(logits, size, mode="bilinear", align_corners=align_corners)
