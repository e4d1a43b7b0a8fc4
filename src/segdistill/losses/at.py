"""AT, attention transfer: match where in the image the features are strong."""

from torch import Tensor, nn

from segdistill.losses._checks import Power
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, masked_mean, unit, valid_at


@loss_function(equal_channels=False, mean_over="images")
def at(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    p: Power = 2.0,
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the mean over images and positions of the squared difference of the two attention maps.

    With :math:`q` (H W,) the mean over channels of :math:`|f|^p` in an image, L2-normalized over positions,

    .. math:: \frac{1}{H W} \Vert q_S - q_T \Vert_2^2

    Args:
        student: Features, shape (N, C, H, W).
        teacher: Features, shape (N, C', H, W), any number of channels; no gradient reaches it.
        labels: Class indices, shape (N, H', W'). Void positions are excluded from the maps; None uses all positions.
        p: Power of the features, >= 1.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If N, H or W differ.

    Example:
        >>> import torch
        >>> from segdistill.losses import at
        >>> student = torch.tensor([[[[3.0, 0.0], [0.0, 0.0]]]])  # strong at the top left
        >>> teacher = torch.tensor([[[[0.0, 0.0], [0.0, 2.0]]]])  # strong at the bottom right
        >>> round(at(student, teacher).item(), 4)
        0.5

    Reference: Zagoruyko and Komodakis, 2017, https://arxiv.org/abs/1612.03928. As in the released code, the value is a
    mean of squares instead of a norm: the published weights belong to it. That code counts void positions.
    """
    check_shapes(student, teacher, any_channels=True)
    valid = valid_at(labels, student, ignore_index).flatten(1)  # (N, H * W)
    s, t = (_attention(x, valid, p) for x in (student, teacher))
    count = valid.sum(dim=1)  # (N,)
    return masked_mean((s - t).square().sum(dim=1) / count.clamp(min=1), count > 0)


def _attention(features: Tensor, valid: Tensor, p: float) -> Tensor:
    """Return the attention map of each image, (N, H * W), zero outside ``valid``."""
    strength = features.abs().pow(p).mean(dim=1).flatten(1)
    return unit(strength.masked_fill(~valid, 0), dim=1)


@module_of(at)
class AT(nn.Module):
    """Module form of :func:`at`."""

    def __init__(self, *, p: float = 2.0, ignore_index: int = 255) -> None:
        super().__init__()
        self.p = p
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return at(student, teacher, labels, p=self.p, ignore_index=self.ignore_index)
