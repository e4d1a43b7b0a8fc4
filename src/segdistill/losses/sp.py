"""SP, similarity preserving: match how similar every two images of the batch are."""

from torch import Tensor, nn

from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, unit, valid_at, zero_void


@loss_function(equal_channels=False)
def sp(student: Tensor, teacher: Tensor, labels: Tensor | None = None, *, ignore_index: int = 255) -> Tensor:
    r"""Return the mean squared difference of the row-normalized matrices of similarities between images.

    With the flattened features of the N images as the rows of :math:`F`, and every row of :math:`G = F F^\top` divided
    by its L2 norm,

    .. math:: \frac{1}{N^2} \Vert G_S - G_T \Vert_F^2

    A batch of one image gives zero. Two images give little more, because the diagonal dominates their rows.

    Args:
        student: Features, shape (N, C, H, W), or (N, C).
        teacher: Features of the same shape, but with any number of channels C'; no gradient reaches it.
        labels: Class indices, shape (N, H', W'), or (N,). Void positions are excluded from the products, and images
            without a valid position from N; None uses everything.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If N, H or W differ.

    Example:
        >>> import torch
        >>> from segdistill.losses import sp
        >>> student = torch.eye(4)  # four images: all different
        >>> teacher = torch.ones(4, 2)  # all alike
        >>> round(sp(student, teacher).item(), 4)
        0.25

    Reference: Tung and Mori, 2019, https://arxiv.org/abs/1907.09682. The value equals that of RepDistiller's code,
    which also accepts maps of different sizes. With several processes, N is the batch of one process.
    """
    check_shapes(student, teacher, dims=(4, 2), any_channels=True)
    valid = valid_at(labels, student, ignore_index)  # (N, H, W), or (N,)
    images = valid.reshape(len(valid), -1).any(dim=1).sum()
    s, t = (_similarities(zero_void(x, valid)) for x in (student, teacher))
    return (s - t).square().sum() / images.clamp(min=1) ** 2


def _similarities(features: Tensor) -> Tensor:
    rows = features.flatten(1)
    return unit(rows @ rows.mT, dim=1)


@module_of(sp)
class SP(nn.Module):
    """Module form of :func:`sp`."""

    def __init__(self, *, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return sp(student, teacher, labels, ignore_index=self.ignore_index)
