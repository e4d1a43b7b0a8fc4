"""FitNet: match the features themselves."""

import math
from typing import Literal

from torch import Tensor, nn

from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, masked_mean, standardize_channels, unit, valid_at

Normalize = Literal["none", "position", "channel"]


@loss_function(mean_over="pixels")
def fitnet(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    normalize: Normalize = "none",
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the mean over valid positions and channels of the squared difference.

    .. math:: \frac{1}{|V| C} \sum_{i \in V} \Vert f^S_i - f^T_i \Vert_2^2

    ``normalize`` changes the features of both networks first, so that their scale does not matter and one weight fits
    several stages. With ``"position"``, the features of a position get the length :math:`\sqrt C`, and the value is the
    mean of :math:`2 - 2 \cos(f^S_i, f^T_i)`. With ``"channel"``, each channel of an image gets mean 0 and variance 1
    over the valid positions, and the value is the mean of 2 - 2 times the correlation of two channels.

    Args:
        student: Features, shape (N, C, H, W), with the teacher's channels. The paper's regressor is the Term's adapter.
        teacher: Features, same shape; no gradient reaches it.
        labels: Class indices, shape (N, H', W'); None counts every position.
        normalize: "none", "position" or "channel". Zero features of a position, and a channel with one value
            everywhere, become zeros that receive no gradient.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> import torch
        >>> from segdistill.losses import fitnet
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]]])  # (1, 2, 2, 2)
        >>> round(fitnet(x, x.flip(1)).item(), 4)
        5.0
        >>> round(fitnet(x, 3 * x, normalize="position").item(), 4)  # the scale does not matter
        0.0
        >>> round(fitnet(x, x.flip(1), normalize="channel").item(), 4)  # each channel with its opposite
        4.0

    Reference: Romero et al., 2015, https://arxiv.org/abs/1412.6550, with a mean instead of half the sum, because the
    published weight for segmentation belongs to the mean. That weight is from CIRKD's code, which counts void positions
    and applies a 1x1 convolution to the student even where the widths are equal. ``normalize="channel"`` follows PKD
    (Cao et al., NeurIPS 2022, https://arxiv.org/abs/2207.02039), whose released code uses the statistics of the batch
    and half the squared difference. The method ``pkd`` compares four stages in this way.
    """
    check_shapes(student, teacher)
    valid = valid_at(labels, student, ignore_index)
    if normalize == "position":
        student, teacher = (unit(x, dim=1) * math.sqrt(x.shape[1]) for x in (student, teacher))
    elif normalize == "channel":
        student, teacher = (standardize_channels(x, valid) for x in (student, teacher))
    difference = (student - teacher).square().mean(dim=1)  # (N, H, W)
    return masked_mean(difference, valid)


@module_of(fitnet)
class FitNet(nn.Module):
    """Module form of :func:`fitnet`."""

    def __init__(self, *, normalize: Normalize = "none", ignore_index: int = 255) -> None:
        super().__init__()
        self.normalize = normalize
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return fitnet(student, teacher, labels, normalize=self.normalize, ignore_index=self.ignore_index)
