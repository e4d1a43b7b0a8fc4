"""CIRKD, mini-batch term: match the similarity of every position to the positions of every image of the batch."""

import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import Count, Positive
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, masked_mean, similarity_divergence, unit, valid_at


@loss_function(equal_channels=False)
def cirkd_minibatch(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: Positive = 0.1,
    pool: Count | None = None,
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
        temperature: Temperature of both softmaxes, > 0.
        pool: Kernel and stride of an average pooling of the features; None compares every position.
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
    and counts void positions. It pools by 2 for SegFormer, later by 4 for maps of 256 x 256 or more. The batch is that
    of one process, as in the released code, whose scripts have 2 images in each of 8. With 16 images in one process, an
    image is compared with 16 instead of 2, and its similarities to itself are 1/16 instead of 1/2 of the mean.
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
    s, t = (_rows_and_columns(x, temperature) for x in (student, teacher))
    divergence = similarity_divergence(s, t, hidden=~valid)  # (N * n, N)
    # Mean over the images of the columns, then over the rows of an image, then over the images of the rows.
    rows = divergence.masked_fill(~present, 0).sum(dim=1).view_as(valid) / present.sum().clamp(min=1)
    images = rows.masked_fill(~valid, 0).sum(dim=1) / valid.sum(dim=1).clamp(min=1)
    return masked_mean(images, present)


def _rows_and_columns(features: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return features (N, d, h, w) as rows (N * n, d), divided by the temperature, and as columns (d, N, n)."""
    columns = unit(features.flatten(2), dim=1).transpose(0, 1)
    return columns.flatten(1).mT / temperature, columns


@module_of(cirkd_minibatch)
class CIRKDMiniBatch(nn.Module):
    """Module form of :func:`cirkd_minibatch`."""

    def __init__(self, *, temperature: float = 0.1, pool: int | None = None, ignore_index: int = 255) -> None:
        super().__init__()
        self.temperature = temperature
        self.pool = pool
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return cirkd_minibatch(
            student,
            teacher,
            labels,
            temperature=self.temperature,
            pool=self.pool,
            ignore_index=self.ignore_index,
        )
