"""ICKD, inter-channel correlation: match how the channels of a map correlate with one another."""

from torch import Tensor, nn

from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, masked_mean, unit, valid_at, zero_void


@loss_function(mean_over="images")
def ickd(student: Tensor, teacher: Tensor, labels: Tensor | None = None, *, ignore_index: int = 255) -> Tensor:
    r"""Return the mean over images and channels of the squared distance of the normalized channel correlations.

    With :math:`F` (C, n) the features of an image and every row of :math:`G = F F^\top` divided by its L2 norm,

    .. math:: \frac{1}{N C} \sum \Vert G_S - G_T \Vert_F^2

    Args:
        student: Features or logits, shape (N, C, H, W).
        teacher: Same shape; no gradient reaches it.
        labels: Class indices, shape (N, H', W'). Void positions are excluded from the products; None uses all
            positions.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If the shapes differ or have no positions.

    Example:
        >>> import torch
        >>> from segdistill.losses import ickd
        >>> student, teacher = torch.eye(4).view(1, 4, 2, 2), torch.ones(1, 4, 2, 2)  # channels orthogonal; all alike
        >>> round(ickd(student, teacher).item(), 4)
        1.0

    Reference: Liu et al., 2021, https://arxiv.org/abs/2202.03680. The value equals that of the authors' CIFAR code,
    after its embedding of the student (a 1x1 convolution with batch norm), and that of AICSD's code on logits. Their
    ImageNet code divides by N once more, so a weight from there is multiplied by 1 / N here. Their segmentation code is
    not released. Its README describes a grid of patches with one matrix each, 32 x 32 at best.
    """
    check_shapes(student, teacher)
    valid = valid_at(labels, student, ignore_index)  # (N, H, W)
    s, t = (_correlations(zero_void(x, valid)) for x in (student, teacher))  # (N, C, C)
    return masked_mean((s - t).square().sum(dim=2).mean(dim=1), valid.flatten(1).any(dim=1))


def _correlations(features: Tensor) -> Tensor:
    rows = features.flatten(2)
    return unit(rows @ rows.mT, dim=2)


@module_of(ickd)
class ICKD(nn.Module):
    """Module form of :func:`ickd`."""

    def __init__(self, *, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return ickd(student, teacher, labels, ignore_index=self.ignore_index)
