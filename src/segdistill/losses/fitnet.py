"""FitNet: match the features themselves."""

from torch import Tensor, nn

from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, masked_mean, valid_at


@loss_function(mean_over="pixels")
def fitnet(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the mean over valid positions and channels of the squared difference.

    .. math:: \frac{1}{|V| C} \sum_{i \in V} \Vert f^S_i - f^T_i \Vert_2^2

    Args:
        student: Features, shape (N, C, H, W), with the teacher's channels. The paper's regressor is the Term's adapter.
        teacher: Features, same shape; no gradient reaches it.
        labels: Class indices, shape (N, H', W'); None counts every position.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> import torch
        >>> from segdistill.losses import fitnet
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]]])  # (1, 2, 2, 2)
        >>> round(fitnet(x, x.flip(1)).item(), 4)
        5.0

    Reference: Romero et al., 2015, https://arxiv.org/abs/1412.6550, with a mean instead of half the sum, because the
    published weight for segmentation belongs to the mean. That weight is from CIRKD's code, which counts void positions
    and applies a 1x1 convolution to the student even where the widths are equal.
    """
    check_shapes(student, teacher)
    difference = (student - teacher).square().mean(dim=1)  # (N, H, W)
    return masked_mean(difference, valid_at(labels, student, ignore_index))


@module_of(fitnet)
class FitNet(nn.Module):
    """Module form of :func:`fitnet`."""

    def __init__(self, *, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return fitnet(student, teacher, labels, ignore_index=self.ignore_index)
