"""CSC, channel and spatial correlations: match the products of every two positions in each channel."""

from torch import Tensor, nn

from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, masked_mean, valid_at, zero_void


@loss_function(mean_over="images")
def csc(student: Tensor, teacher: Tensor, labels: Tensor | None = None, *, ignore_index: int = 255) -> Tensor:
    r"""Return the mean squared difference of the products of every two positions in each channel.

    With :math:`f_c` the map of channel c at the n valid positions of an image, the value is the mean over images of

    .. math:: \frac{1}{C n^2} \sum_c \big\Vert f^S_c {f^S_c}^\top - f^T_c {f^T_c}^\top \big\Vert_F^2

    No n x n matrix is computed: with :math:`u = f^S_c - f^T_c` and :math:`v = f^S_c + f^T_c` the squared norm is
    :math:`\tfrac{1}{2} (|u|^2 |v|^2 + (u^\top v)^2)`, which is also accurate where student and teacher are close.

    Args:
        student: Features, shape (N, C, H, W).
        teacher: Same shape; no gradient reaches it.
        labels: Class indices, shape (N, H', W'). Void positions are excluded from the products; None uses all
            positions.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If the shapes differ or have no positions.

    Example:
        >>> import torch
        >>> from segdistill.losses import csc
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]]])  # (1, 2, 2, 2)
        >>> round(csc(x, x.flip(1)).item(), 4)
        62.5

    Reference: Park and Heo, 2020, https://doi.org/10.3390/s20164616, as described in Table I and section II of AICSD
    ("set of channel correlations", the products f_c(i, j) of each channel, compared by L2). Neither the equations of
    the paper nor any code were available. Choices made here: features are not normalized, and the mean is over all
    entries. The paper's second part, adaptive cross-entropy, is not included.
    """
    check_shapes(student, teacher)
    valid = valid_at(labels, student, ignore_index)  # (N, H, W)
    count = valid.flatten(1).sum(dim=1)  # (N,)
    u, v = (zero_void(x, valid).flatten(2) for x in (student - teacher, student + teacher))  # (N, C, H * W)
    squared = (u.square().sum(dim=2) * v.square().sum(dim=2) + (u * v).sum(dim=2).square()) / 2  # (N, C)
    return masked_mean(squared.mean(dim=1) / count.clamp(min=1) ** 2, count > 0)


@module_of(csc)
class CSC(nn.Module):
    """Module form of :func:`csc`."""

    def __init__(self, *, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return csc(student, teacher, labels, ignore_index=self.ignore_index)
