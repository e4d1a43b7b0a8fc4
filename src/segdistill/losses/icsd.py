"""ICSD, inter-class similarity: match how the distributions of the classes over the image differ."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, hide_void, masked_mean, unit, valid_at, zero_void

Form = Literal["paper", "released"]


@loss_function(reads_classes=True, mean_over="images")
def icsd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    form: Form = "paper",
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the mean squared difference of the matrices of similarities between classes.

    With :math:`G_i` the softmax over all positions of the logits of class i,

    .. math:: \frac{1}{N C^2} \sum_{n,i,j}
        \big( \mathrm{KL}(G^T_i \Vert G^T_j) - \mathrm{KL}(G^S_i \Vert G^S_j) \big)^2

    ``form="released"`` computes the value of the authors' code, to which the published weight 9500 belongs. On the same
    logits it is about a thousand times smaller. The softmax is over each image column only. The similarity is
    :math:`M_{ij} = \sum_{n,h,w} G_j (\log G_j - G_i)` for :math:`i \le j`, mirrored, and summed over the batch. Its
    rows are L2-normalized, and the mean squared difference is divided by N.

    Args:
        student: Logits, shape (N, C, H, W).
        teacher: Logits, same shape; no gradient reaches it.
        labels: Class indices, shape (N, H', W'). Void positions are excluded from the softmax and the sums, and images
            without a valid position from N, in both forms; None uses all positions.
        form: "paper" or "released".
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If the shapes differ or have no positions.

    Example:
        >>> import torch
        >>> from segdistill.losses import icsd
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]]])  # (1, 2, 2, 2)
        >>> round(icsd(x, x[:, [0, 0]]).item(), 4)
        1.9707

    Reference: Mansourian et al., AICSD, Eq. 2-4, https://arxiv.org/abs/2308.04243. The released code compares logits
    upsampled to the size of the input: ``Term(ICSD(form="released"), resize=(513, 513))`` does the same. On logits of
    stride 4 instead, the value and its gradient are about twice as large (1.7 to 3.3 times for random smooth logits).
    """
    check_shapes(student, teacher)
    valid = valid_at(labels, student, ignore_index)  # (N, H, W)
    images = valid.flatten(1).any(dim=1)  # (N,)
    if form == "paper":
        difference = class_divergences(student, valid) - class_divergences(teacher, valid)
        return masked_mean(difference.square().mean(dim=(1, 2)), images)
    difference = _released_similarities(student, valid) - _released_similarities(teacher, valid)
    return difference.square().mean() / images.sum().clamp(min=1)


def class_divergences(logits: Tensor, valid: Tensor) -> Tensor:
    """Return KL(G_i || G_j) of every image, (N, C, C), from one product instead of C^2 divergences."""
    log_g = F.log_softmax(hide_void(logits, valid).flatten(2), dim=2)  # (N, C, H * W)
    g = log_g.exp()
    log_g = log_g.masked_fill(~valid.flatten(1)[:, None], 0)  # 0 * -1e38 is 0, but its gradient is 0 * inf
    return (g * log_g).sum(dim=2, keepdim=True) - g @ log_g.mT


def _released_similarities(logits: Tensor, valid: Tensor) -> Tensor:
    log_g = F.log_softmax(hide_void(logits, valid), dim=2)
    g = log_g.exp() * valid[:, None]  # zero in columns without a valid position too
    g, log_g = (x.transpose(0, 1).flatten(1) for x in (g, zero_void(log_g, valid)))  # (C, N * H * W)
    entropy = (g * log_g).sum(dim=1)  # negative entropy; of each pair, that of the later class is used
    upper = torch.ones(len(g), len(g), dtype=torch.bool, device=g.device).triu()
    return unit(torch.where(upper, entropy, entropy[:, None]) - g @ g.mT, dim=1)


@module_of(icsd)
class ICSD(nn.Module):
    """Module form of :func:`icsd`."""

    def __init__(self, *, form: Form = "paper", ignore_index: int = 255) -> None:
        super().__init__()
        self.form: Form = form
        if form == "released":
            self.mean_over = "batch"  # one matrix for all images
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return icsd(student, teacher, labels, form=self.form, ignore_index=self.ignore_index)
