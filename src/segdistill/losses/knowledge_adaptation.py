"""Knowledge adaptation: match the teacher in the code of an autoencoder, and the similarity of every two positions."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._batch_norm import BatchNorm
from segdistill.losses._checks import Count, NonNegative, checked
from segdistill.losses._declare import loss_function
from segdistill.losses._ops import call_in_dtype, check_channels, check_shapes, masked_mean, unit, valid_at, zero_void
from segdistill.losses.self_taught import SelfTaught


class KnowledgeAdaptation(SelfTaught):
    r"""Adaptation to the code of the teacher's features, plus affinity distillation on the features.

    E is the encoder of an autoencoder, trained on the teacher's features in a first stage. C is an adapter trained with
    the student: a 3x3 convolution with batch normalization and ReLU. The value is

    .. math:: w_{\mathrm{adapt}} \frac{1}{|I|} \sum_{j \in I} \bigg\Vert \frac{C(F_S)_j}{\Vert C(F_S)_j \Vert_q}
        - \frac{E(F_T)_j}{\Vert E(F_T)_j \Vert_q} \bigg\Vert_p
        + w_{\mathrm{affinity}} \sum_i \Vert A^S_i - A^T_i \Vert_2,
        \quad A_{ij} = \frac{\cos(F_i, F_j)}{n}

    for an image of n valid positions, averaged over images. I are the positions of the code. The sides of the code are
    an eighth of the map's, rounded up. The adapter's map is averaged over valid positions to the same size.

    The encoder has three convolutions of stride 2, the decoder D three transposed convolutions. They minimize
    :math:`\Vert F_T - D(E(F_T)) \Vert^2 + 10^{-7} \Vert E(F_T) \Vert_1`. The first term is a mean over the map, the
    second a sum over the code of an image.

    Args:
        student_channels: Number of channels of the student's features.
        teacher_channels: Number of channels of the teacher's features.
        latent_channels: Number of channels of the code; None uses half of teacher_channels.
        adapt_weight: Weight of the adaptation.
        affinity_weight: Weight of the affinity distillation.
        p: Norm of the difference of two codes.
        q: Norm that a code is divided by.
        first_stage: Share of the run's steps in which the autoencoder learns before the student does: an epoch in the
            paper, one of thirty epochs in torchdistill.
        ignore_index: Label of ignored positions. The adapter sees them as zeros, and its batch normalization includes
            them. The autoencoder sees all positions, because it learns the teacher and not the labels.

    Raises:
        ValueError: For a hyperparameter out of range.

    Example:
        >>> import torch
        >>> from segdistill.losses import KnowledgeAdaptation
        >>> _ = torch.manual_seed(0)
        >>> loss = KnowledgeAdaptation(student_channels=4, teacher_channels=8)
        >>> student, teacher = torch.randn(2, 4, 16, 16), torch.randn(2, 8, 16, 16)
        >>> round(loss(student, teacher).item(), 1)
        89.7

    Reference: He et al., CVPR 2019, https://arxiv.org/abs/1903.04688. No code was released. The norms, the width of the
    autoencoder and the batch normalization between its layers follow torchdistill's version; the norms of the paper
    could not be confirmed. Torchdistill differs in three ways: its adaptation treats the whole map as one vector, it
    has a map of affinities for each channel, and its convolutions have no stride.
    """

    equal_channels = False

    @checked
    def __init__(
        self,
        *,
        student_channels: Count,
        teacher_channels: Count,
        latent_channels: Count | None = None,
        adapt_weight: NonNegative = 50.0,
        affinity_weight: NonNegative = 1.0,
        p: Count = 1,
        q: Count = 2,
        first_stage: NonNegative = 0.05,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        latent = max(1, teacher_channels // 2) if latent_channels is None else latent_channels
        self.student_channels = student_channels
        self.teacher_channels = teacher_channels
        self.adapt_weight = adapt_weight
        self.affinity_weight = affinity_weight
        self.p = p
        self.q = q
        self.first_stage = first_stage
        self.ignore_index = ignore_index
        self.adapter = _normalised(nn.Conv2d(student_channels, latent, 3, padding=1, bias=False))
        widths = (teacher_channels, latent, latent, latent)
        self.encoder = nn.Sequential(
            *(_normalised(nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False)) for a, b in pairwise(widths))
        )
        self.decoder = nn.Sequential(
            *(_normalised(_doubling(latent, latent, bias=False)) for _ in range(2)), _doubling(latent, teacher_channels)
        )
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set the mode. The autoencoder uses batch statistics in :meth:`inner_objective` only."""
        super().train(mode)
        self.encoder.eval()
        self.decoder.eval()
        return self

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar.

        Args:
            student: Features, shape (N, student_channels, H, W).
            teacher: Features, shape (N, teacher_channels, H, W); no gradient reaches it.
            labels: Class indices, shape (N, H', W'); None counts every position.

        Raises:
            ValueError: If N, H or W differ, or the channels are not those of the constructor.
        """
        return _knowledge_adaptation(student, teacher, labels, loss=self)

    def inner_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the autoencoder. The adapter learns from the value."""
        yield from self.encoder.parameters()
        yield from self.decoder.parameters()

    def inner_objective(self, student: Tensor | None, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the objective of the autoencoder, a scalar. Student and labels are not used."""
        for part in (self.encoder, self.decoder):
            part.train(self.training)
        objective = _reconstruction(None, teacher, loss=self)
        self.train(self.training)
        return objective

    def inner_optimizer(self) -> torch.optim.Optimizer:
        """Return SGD with the paper's learning rate and weight decay, and torchdistill's momentum."""
        return torch.optim.SGD(self.inner_parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)


def _normalised(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(convolution, BatchNorm(convolution.out_channels), nn.ReLU())


def _doubling(channels: int, out_channels: int, *, bias: bool = True) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=bias)


@loss_function
def _reconstruction(student: None, teacher: Tensor, *, loss: KnowledgeAdaptation) -> Tensor:
    code: Tensor = call_in_dtype(loss.encoder, teacher)
    # The sides of the decoded map are multiples of 8, and at least those of the map.
    decoded: Tensor = call_in_dtype(loss.decoder, code)[..., : teacher.shape[2], : teacher.shape[3]]
    return (teacher - decoded).square().mean() + 1e-7 * code.abs().sum() / len(code)


@loss_function
def _knowledge_adaptation(
    student: Tensor, teacher: Tensor, labels: Tensor | None, *, loss: KnowledgeAdaptation
) -> Tensor:
    check_shapes(student, teacher, any_channels=True)
    check_channels(student, teacher, student_channels=loss.student_channels, teacher_channels=loss.teacher_channels)
    valid = valid_at(labels, student, loss.ignore_index)
    student, visible = (zero_void(x, valid) for x in (student, teacher))
    with torch.no_grad():
        code = call_in_dtype(loss.encoder, teacher)
    adapted = zero_void(call_in_dtype(loss.adapter, student), valid)
    # Not divided by the number of valid positions in a cell: only the direction of the mean matters.
    size = (code.shape[2], code.shape[3])
    pooled, share = (F.adaptive_avg_pool2d(x, size) for x in (adapted, valid[:, None].to(adapted.dtype)))
    adaptation = masked_mean(_direction_distance(pooled, code, p=loss.p, q=loss.q), share[:, 0] > 0)
    rows = _squared_row_distances(*(unit(x.flatten(2), dim=1) for x in (student, visible)))
    affinity = _root(rows).sum(dim=1) / valid.sum(dim=(1, 2)).clamp(min=1)
    return loss.adapt_weight * adaptation + loss.affinity_weight * masked_mean(affinity, valid.flatten(1).any(dim=1))


def _direction_distance(s: Tensor, t: Tensor, *, p: int = 1, q: int = 2) -> Tensor:
    """Return the Lp distance of the vectors of Lq norm 1 at each position of two maps (N, C, h, w), shape (N, h, w)."""
    difference = _direction(s, q) - _direction(t, q)
    distance: Tensor = torch.linalg.vector_norm(difference, ord=p, dim=1)
    return distance


def _direction(x: Tensor, q: int) -> Tensor:
    """Divide the vectors of ``x`` (N, C, h, w) by their Lq norm; a zero vector stays zero and gets no gradient."""
    if q == 2:
        return unit(x, dim=1)
    norm: Tensor = torch.linalg.vector_norm(x, ord=q, dim=1, keepdim=True)
    return x / norm.masked_fill(norm < 1e-12, torch.inf)


def _squared_row_distances(s: Tensor, t: Tensor) -> Tensor:
    """Return the squared L2 norm of each row of s^T s - t^T t, (N, n), for ``s`` (N, d, n) and ``t`` (N, d', n)."""
    if s.shape[2] <= s.shape[1] + t.shape[1]:
        return (s.mT @ s - t.mT @ t).square().sum(dim=2)
    # With many positions, d x d products give the same numbers without an (n, n) map. With u and v the vectors at a
    # position: u^T (s s^T) u + v^T (t t^T) v - 2 u^T (s t^T) v. Rounding may make a zero negative.
    ss, tt, st = s @ s.mT, t @ t.mT, s @ t.mT
    return ((ss @ s - 2 * (st @ t)) * s).sum(dim=1).add((tt @ t * t).sum(dim=1)).clamp(min=0)


def _root(squares: Tensor) -> Tensor:
    """Return the square root, with gradient zero instead of infinity at zero."""
    return squares.masked_fill(squares == 0, 1).sqrt().masked_fill(squares == 0, 0)
