"""AICSD's view of a network: how each class is distributed over the image, and how similar these distributions are."""

import torch.nn.functional as F
from torch import Tensor

from segdistill.losses._ops import at_least_float32, hide_void, valid_at
from segdistill.losses.icsd import class_divergences


def class_distributions(logits: Tensor, labels: Tensor | None = None, *, ignore_index: int = 255) -> Tensor:
    r"""Return the distribution of each class over the image: the softmax of its logits over all positions.

    .. math:: G_{i,p} = \frac{\exp z_{i,p}}{\sum_q \exp z_{i,q}}

    Args:
        logits: Shape (N, C, H, W).
        labels: Class indices, shape (N, H', W'); void positions get 0. None has no void positions.
        ignore_index: Label of void positions.

    Returns:
        Distributions, shape (N, C, H, W). Each map sums to 1.

    Example:
        >>> import torch
        >>> from segdistill.explain.class_similarity import class_distributions
        >>> class_distributions(torch.tensor([[[[0.0, 3.0]], [[1.0, 1.0]]]]))[0, 1]
        tensor([[0.5000, 0.5000]])

    Reference: Mansourian et al., AICSD, Eq. 2 and Figure 1, https://arxiv.org/abs/2308.04243.
    """
    logits = at_least_float32(logits)
    valid = valid_at(labels, logits, ignore_index)
    return F.softmax(hide_void(logits, valid).flatten(2), dim=2).view_as(logits) * valid[:, None]


def class_similarities(logits: Tensor, labels: Tensor | None = None, *, ignore_index: int = 255) -> Tensor:
    r"""Return the matrix that :func:`segdistill.losses.icsd` compares.

    .. math:: M_{ij} = \mathrm{KL}(G_i \Vert G_j)

    A small value means that the two classes are at the same places.

    Args:
        logits, labels, ignore_index: As for :func:`class_distributions`.

    Returns:
        Divergences in nats, shape (N, C, C), with a diagonal of 0.

    Example:
        >>> import torch
        >>> from segdistill.explain.class_similarity import class_similarities
        >>> logits = torch.tensor([[[[0.75, 0.25]], [[0.5, 0.5]]]]).log()
        >>> class_similarities(logits)[0, 0, 1]  # 0.75 ln 1.5 + 0.25 ln 0.5
        tensor(0.1308)

    Reference: Mansourian et al., AICSD, Eq. 3 and Figure 5, https://arxiv.org/abs/2308.04243.
    """
    logits = at_least_float32(logits)
    return class_divergences(logits, valid_at(labels, logits, ignore_index))
