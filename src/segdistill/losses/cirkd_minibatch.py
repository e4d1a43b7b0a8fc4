"""CIRKD, mini-batch term: match the similarity of every position to the positions of every image of the batch."""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import Count, Range
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, unit, valid_at
from segdistill.losses._pair_similarities import pair_divergence, pairs_within

# Up to this bound of the similarities, their exponentials, from exp(-2 * 40) on, fit into float32.
_LARGEST = 40.0


@loss_function(equal_channels=False)
def cirkd_minibatch(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: Annotated[float, Range(">= 0.003", low=0.003)] = 0.1,
    pool: Count | None = None,
    images: Count | None = None,
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the mean over pairs of images of the divergence of the similarities between their positions, in nats.

    With :math:`F_i` (d, n) the features of image i, L2-normalized at each position, row r of :math:`F_i^\top F_j` holds
    the similarities of a position of image i to all positions of image j. Over all ordered pairs, including an image
    with itself,

    .. math:: \frac{1}{N^2} \sum_{i,j} \frac{1}{n} \sum_r
        \mathrm{KL}\big(\sigma((F^T_i{}^\top F^T_j)_r / \tau) \,\Vert\, \sigma((F^S_i{}^\top F^S_j)_r / \tau)\big)

    Args:
        student: Features, shape (N, C, H, W).
        teacher: Features, shape (N, C', H, W), any number of channels; no gradient reaches it.
        labels: Class indices, shape (N, H', W'). Void positions are excluded from rows, columns and pooling; None uses
            all positions.
        temperature: Temperature of both softmaxes, >= 0.003. Below 0.025, similarities are computed in float64.
        pool: Kernel and stride of an average pooling of the features; None compares every position.
        images: Number of images that are compared with each other: the batch is cut into groups of so many, and the
            mean is over all groups. None compares the whole batch; time grows with its square.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If N, H or W differ.

    Example:
        >>> import torch
        >>> from segdistill.losses import cirkd_minibatch
        >>> student, teacher = torch.eye(4).view(1, 4, 2, 2), torch.ones(1, 4, 2, 2)  # positions orthogonal; all alike
        >>> round(cirkd_minibatch(student, teacher, temperature=1.0).item(), 4)
        0.1074

    Reference: Yang et al., CVPR 2022, https://arxiv.org/abs/2204.06986. The released code holds the maps of all pairs
    and counts void positions. It pools by 2 for SegFormer, later by 4 for maps of 256 x 256 or more. It compares the
    images of one process; the released scripts have 2 of the 16 in each, so an image's similarities to itself are half
    of the mean: ``images=2``. With all 16 together they are 1/16.
    """
    check_shapes(student, teacher, any_channels=True)
    valid = valid_at(labels, student, ignore_index)  # (N, H, W)
    if pool is not None:
        # Not divided by the number of valid positions in a cell: only the direction of the mean matters.
        student, teacher = (
            F.avg_pool2d(x.masked_fill(~valid[:, None], 0), pool, ceil_mode=True) for x in (student, teacher)
        )
        valid = F.max_pool2d(valid[:, None].to(student.dtype), pool, ceil_mode=True)[:, 0] > 0
    valid = valid.flatten(1)  # (N, n)
    present = valid.any(dim=1)  # (N,)
    largest = 1 / temperature
    wide = student.dtype if largest <= _LARGEST else torch.float64
    s, t = (unit(x.flatten(2), dim=1).to(wide) * largest**0.5 for x in (student, teacher))
    pairs = pairs_within(len(s), images or len(s), s.device)
    weights = _weights(valid, present, images or len(s), wide)
    # The similarities of unit vectors may be a little above 1.
    return pair_divergence(s, t, valid, weights, pairs=pairs, largest=largest * (1 + 1e-5)).to(student.dtype)


def _weights(valid: Tensor, present: Tensor, group: int, dtype: torch.dtype) -> Tensor:
    """Return the weight of a row of each ordered pair (N, N): mean over columns' images, rows, and rows' images."""
    group_of = torch.arange(len(valid), device=valid.device) // group
    together = (group_of[:, None] == group_of) & present  # an image and those with a valid position in its group
    divisor = together.sum(dim=1) * valid.sum(dim=1) * present.sum()
    return (together & present[:, None]).to(dtype) / divisor.clamp(min=1)[:, None]


@module_of(cirkd_minibatch)
class CIRKDMiniBatch(nn.Module):
    """Module form of :func:`cirkd_minibatch`."""

    def __init__(
        self, *, temperature: float = 0.1, pool: int | None = None, images: int | None = None, ignore_index: int = 255
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.pool = pool
        self.images = images
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return cirkd_minibatch(
            student,
            teacher,
            labels,
            temperature=self.temperature,
            pool=self.pool,
            images=self.images,
            ignore_index=self.ignore_index,
        )
