"""Channel distillation: match the mean activation of every channel."""

from torch import Tensor, nn

from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, masked_mean, mean_of_valid, valid_at


@loss_function(mean_over="images")
def channel_distillation(
    student: Tensor, teacher: Tensor, labels: Tensor | None = None, *, ignore_index: int = 255
) -> Tensor:
    r"""Return the mean over images and channels of the squared difference of the channel means.

    With :math:`w_{nc}` the mean over positions of channel c in image n,

    .. math:: \frac{1}{N C} \sum_{n,c} (w^S_{nc} - w^T_{nc})^2

    Args:
        student: Features, shape (N, C, H, W).
        teacher: Same shape; no gradient reaches it.
        labels: Class indices, shape (N, H', W'). Void positions are excluded from the means; None uses all positions.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If the shapes differ or have no positions.

    Example:
        >>> import torch
        >>> from segdistill.losses import channel_distillation
        >>> student = torch.zeros(1, 2, 4, 4)
        >>> teacher = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)  # channel means 1 and 3
        >>> round(channel_distillation(student, teacher).item(), 4)
        5.0

    Reference: Zhou et al., 2020, https://arxiv.org/abs/2006.01683. The value equals that of the released code after its
    connector (1x1 convolution, batch norm, ReLU, used for equal channels too), for one of the four stages that it sums.
    The paper's guided distillation is :func:`~segdistill.losses.kd` with ``labels="teacher_correct"``. Its decay over
    the epochs is a schedule.
    """
    check_shapes(student, teacher)
    valid = valid_at(labels, student, ignore_index)  # (N, H, W)
    difference = mean_of_valid(student - teacher, valid)  # (N, C)
    return masked_mean(difference.square().mean(dim=1), valid.flatten(1).any(dim=1))


@module_of(channel_distillation)
class ChannelDistillation(nn.Module):
    """Module form of :func:`channel_distillation`."""

    def __init__(self, *, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return channel_distillation(student, teacher, labels, ignore_index=self.ignore_index)
