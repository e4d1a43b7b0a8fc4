"""Knowledge adaptation: match the teacher in an autoencoder's code, and in how alike every two positions are."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import Count, NonNegative, checked
from segdistill.losses._declare import loss_function
from segdistill.losses._ops import call_in_dtype, check_shapes, masked_mean, unit, valid_at, zero_void
from segdistill.losses.self_taught import SelfTaught


class KnowledgeAdaptation(SelfTaught):
    r"""Adaptation to the code of the teacher's features, plus affinity distillation on the features themselves.

    With E the encoder of an autoencoder that has learned the teacher's features in a first stage, and C an adapter, a
    3x3 convolution with batch normalisation and ReLU, trained with the student,

    .. math:: w_{\mathrm{adapt}} \frac{1}{|I|} \sum_{j \in I} \bigg\Vert \frac{C(F_S)_j}{\Vert C(F_S)_j \Vert_2}
        - \frac{E(F_T)_j}{\Vert E(F_T)_j \Vert_2} \bigg\Vert_1
        + w_{\mathrm{affinity}} \sum_i \Vert A^S_i - A^T_i \Vert_2,
        \quad A_{ij} = \frac{\cos(F_i, F_j)}{n}

    for an image of n valid positions; I are the positions of the code, and the mean over images is taken. The code is
    an eighth of the map, rounded up; the adapter's map is averaged to its size, over valid positions.

    Three convolutions of stride 2 encode, three transposed ones decode, and minimise
    :math:`\Vert F_T - D(E(F_T)) \Vert^2 + 10^{-7} \Vert E(F_T) \Vert_1`, the first a mean over the map, the second
    a sum over an image's code.

    Args:
        student_channels: Channels of the student's features.
        teacher_channels: Channels of the teacher's.
        latent_channels: Channels of the code; None takes half of the teacher's.
        adapt_weight: Of the adaptation.
        affinity_weight: Of the affinity distillation.
        first_stage: Share of the run's steps in which the autoencoder learns before the student does: an epoch in the
            paper, one of thirty in torchdistill.
        ignore_index: Label of the positions that do not count. The adapter sees them as zeros, and normalises over
            them; the autoencoder, which learns the teacher and not the labels, sees all.

    Raises:
        ValueError: For a hyper-parameter out of range.

    Example:
        >>> import torch
        >>> from segdistill.losses import KnowledgeAdaptation
        >>> _ = torch.manual_seed(0)
        >>> loss = KnowledgeAdaptation(student_channels=4, teacher_channels=8)
        >>> student, teacher = torch.randn(2, 4, 16, 16), torch.randn(2, 8, 16, 16)
        >>> round(loss(student, teacher).item(), 1)
        89.7

    Reference: He et al., CVPR 2019, https://arxiv.org/abs/1903.04688, for which no code was released. Norms, batch
    normalisation between the autoencoder's layers and its width are those of torchdistill's version; the paper's own
    norms could not be confirmed. That version takes the whole map as one vector in the adaptation, a map of affinities
    for each channel, and convolutions without stride.
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
        first_stage: NonNegative = 0.05,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        latent = max(1, teacher_channels // 2) if latent_channels is None else latent_channels
        self.student_channels = student_channels
        self.teacher_channels = teacher_channels
        self.adapt_weight = adapt_weight
        self.affinity_weight = affinity_weight
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
        """Set the mode; the autoencoder normalises by the batch in :meth:`inner_objective` only."""
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
            ValueError: If the shapes differ, or the channels are not those given.
        """
        return _knowledge_adaptation(student, teacher, labels, loss=self)

    def inner_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the autoencoder's parameters; the adapter learns from the value."""
        yield from self.encoder.parameters()
        yield from self.decoder.parameters()

    def inner_objective(self, student: Tensor | None, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the autoencoder's objective, a scalar; neither the student nor the labels are looked at."""
        for part in (self.encoder, self.decoder):
            part.train(self.training)
        objective = _reconstruction(None, teacher, loss=self)
        self.train(self.training)
        return objective

    def inner_optimizer(self) -> torch.optim.Optimizer:
        """Return SGD with the paper's learning rate and weight decay, and torchdistill's momentum."""
        return torch.optim.SGD(self.inner_parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)


def _normalised(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())


def _doubling(channels: int, out_channels: int, *, bias: bool = True) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=bias)


@loss_function
def _reconstruction(student: None, teacher: Tensor, *, loss: KnowledgeAdaptation) -> Tensor:
    code: Tensor = call_in_dtype(loss.encoder, teacher)
    # Decoding gives a multiple of 8, never less than the map.
    decoded: Tensor = call_in_dtype(loss.decoder, code)[..., : teacher.shape[2], : teacher.shape[3]]
    return (teacher - decoded).square().mean() + 1e-7 * code.abs().sum() / len(code)


@loss_function
def _knowledge_adaptation(
    student: Tensor, teacher: Tensor, labels: Tensor | None, *, loss: KnowledgeAdaptation
) -> Tensor:
    check_shapes(student, teacher, any_channels=True)
    if (student.shape[1], teacher.shape[1]) != (loss.student_channels, loss.teacher_channels):
        raise ValueError(
            f"channels must be student_channels={loss.student_channels} and teacher_channels={loss.teacher_channels}, "
            f"got student {tuple(student.shape)} and teacher {tuple(teacher.shape)}"
        )
    valid = valid_at(labels, student, loss.ignore_index)
    student, visible = (zero_void(x, valid) for x in (student, teacher))
    with torch.no_grad():
        code = call_in_dtype(loss.encoder, teacher)
    adapted = zero_void(call_in_dtype(loss.adapter, student), valid)
    # A sum over the valid positions of a cell would do as well as their mean: only its direction counts.
    size = (code.shape[2], code.shape[3])
    ours, share = (F.adaptive_avg_pool2d(x, size) for x in (adapted, valid[:, None].to(adapted.dtype)))
    adaptation = masked_mean(_direction_distance(ours, code), share[:, 0] > 0)
    rows = _squared_row_distances(*(unit(x.flatten(2), dim=1) for x in (student, visible)))
    affinity = _root(rows).sum(dim=1) / valid.sum(dim=(1, 2)).clamp(min=1)
    return loss.adapt_weight * adaptation + loss.affinity_weight * masked_mean(affinity, valid.flatten(1).any(dim=1))


def _direction_distance(s: Tensor, t: Tensor) -> Tensor:
    """L1 distance of the unit vectors at each position of two maps (N, C, h, w), shape (N, h, w)."""
    return (unit(s, dim=1) - unit(t, dim=1)).abs().sum(dim=1)


def _squared_row_distances(s: Tensor, t: Tensor) -> Tensor:
    """Squared L2 norm of each row of s^T s - t^T t, shape (N, n), for ``s`` (N, d, n) and ``t`` (N, d', n)."""
    if s.shape[2] <= s.shape[1] + t.shape[1]:
        return (s.mT @ s - t.mT @ t).square().sum(dim=2)
    # Many positions: the same numbers from d x d products, so that no (n, n) map is ever held. With u and v the vectors
    # at a position, u^T (s s^T) u + v^T (t t^T) v - 2 u^T (s t^T) v; rounding may leave a negative zero.
    ss, tt, st = s @ s.mT, t @ t.mT, s @ t.mT
    return ((ss @ s - 2 * (st @ t)) * s).sum(dim=1).add((tt @ t * t).sum(dim=1)).clamp(min=0)


def _root(squares: Tensor) -> Tensor:
    """Square root whose gradient is zero, not infinite, at zero."""
    return squares.masked_fill(squares == 0, 1).sqrt().masked_fill(squares == 0, 0)
