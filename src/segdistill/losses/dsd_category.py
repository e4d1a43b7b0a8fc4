"""DSD, category-wise term: match how much every two classes overlap in the image."""

import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import Count, Positive
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, hide_void, masked_mean, valid_at


@loss_function(reads_classes=True, mean_over="images")
def dsd_category(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: Positive = 4.0,
    pool: Count = 2,
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the mean over images and pairs of classes of the squared difference of the correlations.

    With :math:`z` (C, n) the average-pooled logits of an image and :math:`P` their softmax over positions, per class,

    .. math:: \frac{1}{C^2} \big\Vert P_S P_S^\top - P_T P_T^\top \big\Vert_F^2,
        \quad P = \sigma_{hw}(z / \tau)

    The value is small, about 1 / n squared, and decreases with the size of the map.

    Args:
        student: Logits, shape (N, C, H, W).
        teacher: Same shape; no gradient reaches it.
        labels: Class indices, shape (N, H', W'). Void positions are excluded from the pooling and the softmax; None
            uses all positions.
        temperature: Temperature of both softmaxes, > 0.
        pool: Kernel and stride of the average pooling, in positions; 1 disables it.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If the shapes differ or have no positions.

    Example:
        >>> import torch
        >>> from segdistill.losses import dsd_category
        >>> student = 100 * torch.eye(4).view(1, 4, 2, 2)  # every class at another position
        >>> teacher = torch.zeros(1, 4, 2, 2)  # every class at all four positions
        >>> round(dsd_category(student, teacher, pool=1).item(), 4)
        0.1875

    Reference: Feng et al., 2021, https://arxiv.org/abs/2107.08591, following CIRKD's code, the only released one. That
    code counts void positions.
    """
    check_shapes(student, teacher)
    valid = valid_at(labels, student, ignore_index)  # (N, H, W)
    share = F.avg_pool2d(valid[:, None].to(student.dtype), pool, ceil_mode=True)  # share of valid positions
    cells = share[:, 0] > 0  # (N, h, w)
    s, t = (_correlation(x, valid, share, temperature, pool) for x in (student, teacher))
    return masked_mean((s - t).square().mean(dim=(1, 2)), cells.flatten(1).any(dim=1))


def _correlation(logits: Tensor, valid: Tensor, share: Tensor, temperature: float, pool: int) -> Tensor:
    """Return the overlap of every two classes' distributions over positions, (N, C, C)."""
    pooled = F.avg_pool2d(logits.masked_fill(~valid[:, None], 0), pool, ceil_mode=True)
    cells = share > 0
    mean = hide_void(pooled / share.masked_fill(~cells, 1), cells[:, 0])
    distributions = (mean / temperature).flatten(2).softmax(dim=2)  # (N, C, h * w)
    return distributions @ distributions.mT


@module_of(dsd_category)
class DSDCategory(nn.Module):
    """Module form of :func:`dsd_category`."""

    def __init__(self, *, temperature: float = 4.0, pool: int = 2, ignore_index: int = 255) -> None:
        super().__init__()
        self.temperature = temperature
        self.pool = pool
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return dsd_category(
            student,
            teacher,
            labels,
            temperature=self.temperature,
            pool=self.pool,
            ignore_index=self.ignore_index,
        )
