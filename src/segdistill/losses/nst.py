"""NST, neuron selectivity transfer: match the distribution of the channels' activation patterns."""

from torch import Tensor, nn

from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, gram_distance, masked_mean, unit, valid_at, zero_void


@loss_function(equal_channels=False, mean_over="images")
def nst(student: Tensor, teacher: Tensor, labels: Tensor | None = None, *, ignore_index: int = 255) -> Tensor:
    r"""Return the mean over images of the squared maximum mean discrepancy between the channels of the two maps.

    With :math:`f_c` the map of channel c over all positions, divided by its L2 norm, and the kernel
    :math:`k(a, b) = (a^\top b)^2`, the squared discrepancy is

    .. math:: \frac{1}{C^2} \sum_{c,c'} k(f^S_c, f^S_{c'}) + \frac{1}{C'^2} \sum_{c,c'} k(f^T_c, f^T_{c'})
        - \frac{2}{C C'} \sum_{c,c'} k(f^S_c, f^T_{c'})

    It is computed as the equal :math:`\Vert F_S^\top F_S / C - F_T^\top F_T / C' \Vert_F^2`, from the smaller matrices:
    those between channels or those between positions.

    Args:
        student: Features, shape (N, C, H, W).
        teacher: Features, shape (N, C', H, W), any number of channels; no gradient reaches it.
        labels: Class indices, shape (N, H', W'). Void positions are excluded from the patterns; None uses all
            positions.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If N, H or W differ.

    Example:
        >>> import torch
        >>> from segdistill.losses import nst
        >>> student, teacher = torch.eye(4).view(1, 4, 2, 2), torch.ones(1, 4, 2, 2)  # channels orthogonal; all alike
        >>> round(nst(student, teacher).item(), 4)
        0.75

    Reference: Huang and Wang, 2017, https://arxiv.org/abs/1707.01219, with the polynomial kernel of degree 2. The value
    equals that of RepDistiller's code, which pools the larger of two maps to a square.
    """
    check_shapes(student, teacher, any_channels=True)
    valid = valid_at(labels, student, ignore_index)  # (N, H, W)
    s, t = (unit(zero_void(x, valid).flatten(2), dim=2) / x.shape[1] ** 0.5 for x in (student, teacher))
    return masked_mean(gram_distance(s, t), valid.flatten(1).any(dim=1))


@module_of(nst)
class NST(nn.Module):
    """Module form of :func:`nst`."""

    def __init__(self, *, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return nst(student, teacher, labels, ignore_index=self.ignore_index)
