"""MD: match the class probabilities, and how much they change from each pixel to its neighbors."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import NonNegative
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, masked_mean, valid_at

# Half of the eight neighbors, as (rows down, columns right). Each pair of pixels counts for both pixels.
NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))

# Two distributions closer than this are equal up to rounding.
_COINCIDE = 1e-6


@loss_function(reads_classes=True, mean_over="pixels")
def md(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    zero: NonNegative = 1.0,
    first: NonNegative = 1.0,
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the mean over valid pixels of the squared distances of the probabilities and of the consistency maps.

    With :math:`p_i` the softmax of the logits at pixel i, and :math:`B(i)` those of its eight neighbors that are inside
    the image and valid,

    .. math:: \frac{1}{|V|} \sum_{i \in V} \Big[ \lambda_0 \Vert p^S_i - p^T_i \Vert_2^2
        + \lambda_1 (c^S_i - c^T_i)^2 \Big], \qquad c_i = \sum_{j \in B(i)} \Vert p_i - p_j \Vert_2

    Args:
        student: Logits, shape (N, C, H, W).
        teacher: Logits, same shape; no gradient reaches it.
        labels: Class indices, shape (N, H', W'). Void pixels are ignored, also as neighbors; None uses all pixels.
        zero: Weight :math:`\lambda_0` of the zero-order consistency, the probabilities.
        first: Weight :math:`\lambda_1` of the first-order consistency, the changes.
        ignore_index: Label of ignored pixels.

    Raises:
        ValueError: If the shapes differ or have no positions.

    Example:
        >>> import torch
        >>> from segdistill.losses import md
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]]])  # (1, 2, 2, 2)
        >>> round(md(x, x.flip(1)).item(), 4)
        1.0328

    Reference: Xie et al., 2018, https://arxiv.org/abs/1810.08476, as described by two later papers, in Table I and
    section II of AICSD and in the related work of I2CKD. Neither the equations of the paper nor any code were
    available. Choices made here: distances between softmax maps, squared and averaged, and both weights.
    """
    check_shapes(student, teacher)
    valid = valid_at(labels, student, ignore_index)  # (N, H, W)
    p, q = (F.softmax(x, dim=1) for x in (student, teacher))
    probabilities = masked_mean((p - q).square().sum(dim=1), valid)
    changes = masked_mean((_consistency(p, valid) - _consistency(q, valid)).square(), valid)
    return zero * probabilities + first * changes


def _consistency(p: Tensor, valid: Tensor) -> Tensor:
    """Return the sum of the distances to the neighbors, (N, H, W)."""
    total = torch.zeros_like(p[:, 0])
    h, w = total.shape[1:]
    for down, right in NEIGHBOURS:
        here = (..., slice(0, h - down), slice(max(-right, 0), w - max(right, 0)))
        there = (..., slice(down, h), slice(max(right, 0), w - max(-right, 0)))
        distance = torch.linalg.vector_norm(p[here] - p[there], dim=1)
        # The gradient of a distance that is rounding would be a direction by chance.
        distance = distance.masked_fill(~(valid[here] & valid[there]) | (distance < _COINCIDE), 0)
        total[here] += distance
        total[there] += distance
    return total


@module_of(md)
class MD(nn.Module):
    """Module form of :func:`md`."""

    def __init__(self, *, zero: float = 1.0, first: float = 1.0, ignore_index: int = 255) -> None:
        super().__init__()
        self.zero = zero
        self.first = first
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return md(student, teacher, labels, zero=self.zero, first=self.first, ignore_index=self.ignore_index)
