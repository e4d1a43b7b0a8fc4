"""SKD, pair-wise term: match the cosine similarity of every two positions."""

import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import Count
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, gram_distance, hide_void, masked_mean, unit, valid_at


@loss_function(equal_channels=False, mean_over="images")
def skd_pairwise(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    pool: Count = 2,
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the mean over images of the mean squared difference of the two maps of cosine similarities.

    With :math:`F` (d, n) the features of an image after max pooling, L2-normalized in each of the n cells,

    .. math:: \frac{1}{n^2} \big\Vert F_S^\top F_S - F_T^\top F_T \big\Vert_F^2

    Args:
        student: Features, shape (N, C, H, W).
        teacher: Features, shape (N, C', H, W), any number of channels; no gradient reaches it.
        labels: Class indices, shape (N, H', W'). Void positions are excluded from the pooling, and cells without a
            valid position from the pairs; None uses all positions.
        pool: Kernel and stride of the max pooling, in positions; 1 compares the full map.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If N, H or W differ.

    Example:
        >>> import torch
        >>> from segdistill.losses import skd_pairwise
        >>> student, teacher = torch.eye(4).view(1, 4, 2, 2), torch.ones(1, 4, 2, 2)  # positions orthogonal; all alike
        >>> round(skd_pairwise(student, teacher, pool=1).item(), 4)
        0.75

    Reference: Liu et al., 2019, https://arxiv.org/abs/1903.04197; Eq. 3-4 of GSKD, which have no pooling (``pool=1``).
    The default follows CIRKD's released code, which counts void positions.
    """
    check_shapes(student, teacher, any_channels=True)
    valid = valid_at(labels, student, ignore_index)  # (N, H, W)
    cells = F.max_pool2d(valid[:, None].to(student.dtype), pool, ceil_mode=True) > 0  # (N, 1, h, w)
    count = cells.flatten(1).sum(dim=1)  # (N,)
    pooled = [F.max_pool2d(hide_void(x, valid), pool, ceil_mode=True) for x in (student, teacher)]
    # A void cell becomes the zero vector, so its similarity to every cell is 0 in both networks.
    s, t = (unit(x.masked_fill(~cells, 0).flatten(2), dim=1) for x in pooled)  # (N, C, h * w)
    return masked_mean(gram_distance(s, t) / count.clamp(min=1) ** 2, count > 0)


@module_of(skd_pairwise)
class SKDPairwise(nn.Module):
    """Module form of :func:`skd_pairwise`."""

    def __init__(self, *, pool: int = 2, ignore_index: int = 255) -> None:
        super().__init__()
        self.pool = pool
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return skd_pairwise(student, teacher, labels, pool=self.pool, ignore_index=self.ignore_index)
