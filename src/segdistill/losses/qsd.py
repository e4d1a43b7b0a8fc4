"""QSD, query-based soft distillation of GKD: rebuild the teacher's features by attention from the student to it."""

import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import Count, checked
from segdistill.losses._declare import loss_function
from segdistill.losses._ops import call_in_dtype, check_channels, check_shapes, masked_mean, valid_at


class QSD(nn.Module):
    r"""Mean over positions and channels of the squared error of features that the student retrieves by attention.

    A position has a query, the projection :math:`\varphi(s)` of the student's features. The keys are the teacher's
    features :math:`t` at all positions of the image. The values are another projection of the student's,
    :math:`\psi(s)`:

    .. math:: s'_i = \sum_j \sigma_j\big(\varphi(s_i)^\top t_j\big)\, \psi(s_j), \qquad
        \frac{1}{|V| d} \sum_{i \in V} \Vert s'_i - t_i \Vert_2^2

    with the softmax :math:`\sigma_j` over the positions j, and d channels of the teacher. Each projection is a layer
    normalization followed by a linear layer. Both projections learn with the student. The products are not divided by
    :math:`\sqrt d`, unlike those of most attention, so wide or large features of the teacher give a sharp softmax.

    Void positions are excluded as queries, keys and values. Vectors (N, C), such as class tokens, are maps of one
    position: the softmax is 1, and the linear layer alone predicts the teacher.

    Args:
        student_channels: Number of channels of the student's features.
        teacher_channels: Number of channels of the teacher's features.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: For a hyperparameter out of range.

    Example:
        >>> import torch
        >>> from segdistill.losses import QSD
        >>> _ = torch.manual_seed(0)
        >>> loss = QSD(student_channels=4, teacher_channels=8)
        >>> student, teacher = torch.randn(2, 4, 16, 16), torch.randn(2, 8, 16, 16)
        >>> round(loss(student, teacher).item(), 2)
        1.12

    Reference: GKD, Lv et al., CVPR 2026, https://arxiv.org/abs/2603.02554. The equation comes from the released code
    (Younger-hua/GKD, MIT), which compares the patch tokens after the last layer normalization of both transformers. Its
    mean also counts the class token, one of 1 + h w tokens. GKD adds two terms, each with weight 1: this loss on the
    class tokens alone, and this loss with the features of a student that sees images with masked patches. No term runs
    the student on other images, so the second is left out. GKD trains the student's encoder with these losses without
    the task, then freezes it and trains the decoder with the task.
    """

    equal_channels = False
    needs_teacher = True
    mean_over = "pixels"

    @checked
    def __init__(self, *, student_channels: Count, teacher_channels: Count, ignore_index: int = 255) -> None:
        super().__init__()
        self.student_channels = student_channels
        self.teacher_channels = teacher_channels
        self.ignore_index = ignore_index
        self.queries, self.values = (
            nn.Sequential(nn.LayerNorm(student_channels), nn.Linear(student_channels, teacher_channels))
            for _ in range(2)
        )

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar.

        Args:
            student: Features, shape (N, student_channels, H, W) or (N, student_channels).
            teacher: Features, shape (N, teacher_channels, H, W) or (N, teacher_channels); no gradient reaches it.
            labels: Class indices, shape (N, H', W'), or (N,) for vectors; None counts every position.

        Raises:
            ValueError: If N, H or W differ, or the channels are not those of the constructor.
        """
        return _qsd(student, teacher, labels, loss=self)


@loss_function
def _qsd(student: Tensor, teacher: Tensor, labels: Tensor | None, *, loss: QSD) -> Tensor:
    check_shapes(student, teacher, dims=(4, 2), any_channels=True)
    check_channels(student, teacher, student_channels=loss.student_channels, teacher_channels=loss.teacher_channels)
    valid = valid_at(labels, student, loss.ignore_index).reshape(len(student), -1)  # (N, n)
    s, t = (_tokens(x) for x in (student, teacher))
    # An image without a valid position sees all of them: the softmax over none is not a number. It does not count.
    keys = None if labels is None else valid | ~valid.any(dim=1, keepdim=True)
    retrieved = _attend(call_in_dtype(loss.queries, s), t, call_in_dtype(loss.values, s), keys)
    return masked_mean((retrieved - t).square().mean(dim=2), valid)


def _tokens(features: Tensor) -> Tensor:
    """Return features, (N, C, H, W) or (N, C), as tokens (N, n, C)."""
    # Contiguous, because PyTorch otherwise computes an attention that holds all weights.
    return features.reshape(*features.shape[:2], -1).mT.contiguous()


def _attend(queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor | None) -> Tensor:
    """Return the mean of the values (N, n, C), weighted for each query by the softmax of its products with the keys.

    ``seen`` (N, n) excludes keys. The (n, n) weights are never all in memory.
    """
    mask = None if seen is None else seen[:, None, None]
    q, k, v = (x[:, None] for x in (queries, keys, values))  # one head
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)[:, 0]
