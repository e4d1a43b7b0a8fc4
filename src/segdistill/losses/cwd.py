"""CWD, channel-wise distillation: match where in the image each channel is active."""

from torch import Tensor, nn

from segdistill.losses._checks import Positive
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, hide_void, kl_divergence, masked_mean, valid_at


@loss_function(mean_over="images")
def cwd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: Positive = 4.0,
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the mean over images and channels of the divergence of the distributions over positions, in nats.

    .. math:: \frac{\tau^2}{N C} \sum_{n,c}
        \mathrm{KL}\big(\sigma_{hw}(x^T_{nc} / \tau) \,\Vert\, \sigma_{hw}(x^S_{nc} / \tau)\big)

    Args:
        student: Logits or features, shape (N, C, H, W).
        teacher: Same shape; no gradient reaches it.
        labels: Class indices, shape (N, H', W'). Void positions are excluded from the softmax; None uses all positions.
        temperature: Temperature of both softmaxes, > 0.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If the shapes differ or have no positions.

    Example:
        >>> import torch
        >>> from segdistill.losses import cwd
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]]])  # (1, 2, 2, 2)
        >>> round(cwd(x, x.flip(1)).item(), 4)
        2.4568

    Reference: Shu et al., 2021, https://arxiv.org/abs/2011.13256. The released code counts void positions and returns
    NaN for sharp inputs (it takes the logarithm of a softmax). For features it divides by the number of the student's
    channels before the 1x1 convolution. With a convolution from 128 to 256 channels its value is twice this mean over
    the compared channels, and its weight 50 corresponds to 100 here.
    """
    check_shapes(student, teacher)
    valid = valid_at(labels, student, ignore_index)  # (N, H, W)
    s, t = (hide_void(x / temperature, valid).flatten(2) for x in (student, teacher))  # (N, C, H * W)
    divergence = kl_divergence(s, t, dim=2).mean(dim=1)  # (N,)
    return temperature**2 * masked_mean(divergence, valid.flatten(1).any(dim=1))


@module_of(cwd)
class CWD(nn.Module):
    """Module form of :func:`cwd`."""

    def __init__(self, *, temperature: float = 4.0, ignore_index: int = 255) -> None:
        super().__init__()
        self.temperature = temperature
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return cwd(student, teacher, labels, temperature=self.temperature, ignore_index=self.ignore_index)
