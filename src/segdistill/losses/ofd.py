"""OFD, overhaul of feature distillation: match the teacher's features above a margin, in several layers."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdistill.losses._checks import Count, checked
from segdistill.losses._connector import Connector
from segdistill.losses._declare import loss_function
from segdistill.losses._ops import call_in_dtype, check_maps, valid_at, zero_void
from segdistill.losses._processes import summed


class OFD(nn.Module):
    r"""Squared distance to the teacher's features, except where both networks are inactive.

    With the teacher's features clipped from below at a negative margin per channel, :math:`t = \max(f^T, m_c)`, and the
    student's features after a connector (1x1 convolution and batch normalization), :math:`s`, the value is the mean
    over images of

    .. math:: \sum_{l=1}^{L} 2^{l-L} \sum_{i,c} [ s_{ic} > t_{ic} \text{ or } t_{ic} > 0 ] (s_{ic} - t_{ic})^2

    over the maps l, shallow to deep. Where the teacher is inactive (t <= 0), the student is only penalized above t. The
    inner sum grows with the size and the width of the map; the published weights belong to this sum. The batch
    normalization excludes void positions. An image without a valid position in the deepest map does not count.

    The margin of a channel is the mean of its negative responses. A given margin does not change. Otherwise it is
    measured: the mean over all negative responses that the loss has seen in training mode, in all processes, and 0 for
    a channel that was never negative.

    Args:
        student_channels: Number of channels of each of the student's maps, shallow to deep.
        teacher_channels: Number of channels of each of the teacher's maps.
        margin: One vector (C,) for each of the teacher's maps; see :func:`margin_of_batch_norm`. None measures it.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If the numbers of maps differ, or a margin does not have the teacher's channels.

    Example:
        >>> import torch
        >>> from segdistill.losses import OFD
        >>> _ = torch.manual_seed(0)
        >>> loss = OFD(student_channels=[1], teacher_channels=[1])
        >>> student = (torch.tensor([[[[-1.0, 1.0], [-1.0, 1.0]]]]),)
        >>> round(loss(student, (torch.zeros(1, 1, 2, 2),)).item(), 2)  # two positions where only the student is active
        2.0

    Reference: Heo et al., ICCV 2019, https://arxiv.org/abs/1904.01866. The divisors 8, 4, 2, 1 of four maps are those
    of the released code for the four stages in segmentation, and its code for classification follows the same rule. Its
    divisors 1 and 16 for DeepLab's head and decoder are not included. That code counts void positions, uses batch
    statistics in the teacher, and trains the connectors alone in a first epoch. The paper compares features before a
    ReLU, ``"stage1:pre"`` to ``"stage4:pre"`` by default. Features after a ReLU have no negative responses: the margin
    is 0, and the distance counts wherever the teacher or the student is active.
    """

    equal_channels = False
    needs_teacher = True
    mean_over = "images"

    @checked
    def __init__(
        self,
        *,
        student_channels: Sequence[Count],
        teacher_channels: Sequence[Count],
        margin: Sequence[Tensor] | None = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        counts = {len(student_channels), len(teacher_channels), len(teacher_channels if margin is None else margin)}
        if len(counts) > 1:
            raise ValueError("student_channels, teacher_channels and margin must have one entry per map, equally many")
        self.student_channels = tuple(student_channels)
        self.teacher_channels = tuple(teacher_channels)
        self.ignore_index = ignore_index
        margins = [None] * len(self.teacher_channels) if margin is None else margin
        triples = zip(self.student_channels, self.teacher_channels, margins, strict=True)
        self.layers = nn.ModuleList(_Layer(*triple) for triple in triples)

    def forward(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar.

        Args:
            student: Tuple of features (N, C, H, W). C, H and W may differ between maps.
            teacher: The same number of maps, with the same N, H and W; no gradient reaches them.
            labels: Class indices, shape (N, H', W'); None counts every position.

        Raises:
            ValueError: If student or teacher is not a tuple of the maps that the loss was built for, or the shapes
                differ.
        """
        return _ofd(student, teacher, labels, loss=self)


@loss_function
def _ofd(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], labels: Tensor | None, *, loss: OFD) -> Tensor:
    check_maps(student, teacher, student_channels=loss.student_channels, teacher_channels=loss.teacher_channels)
    valid = [valid_at(labels, s, loss.ignore_index) for s in student]  # (N, H, W) each
    images = valid[-1].flatten(1).any(dim=1)  # (N,); the deepest map has the fewest positions
    levels = [
        layer(s, t, here & images[:, None, None]) / images.sum().clamp(min=1)
        for layer, s, t, here in zip(loss.layers, student, teacher, valid, strict=True)
    ]
    return torch.stack([level / 2 ** (len(levels) - number) for number, level in enumerate(levels, start=1)]).sum()


class _Layer(nn.Module):
    """Connector and margin of one map.

    Attributes:
        margin: Shape (C,), saved with the state.
        negatives: Number of negative responses of each channel, of which the margin is the mean, shape (C,).
    """

    margin: Tensor
    negatives: Tensor

    def __init__(self, student_channels: int, teacher_channels: int, margin: Tensor | None) -> None:
        super().__init__()
        self.is_measured = margin is None
        start = torch.zeros(teacher_channels) if margin is None else margin.detach().clone()
        if start.shape != (teacher_channels,):
            raise ValueError(f"margin must have shape ({teacher_channels},), the teacher's, got {tuple(start.shape)}")
        self.connector = Connector(student_channels, teacher_channels)
        self.register_buffer("margin", start)
        self.register_buffer("negatives", torch.zeros(teacher_channels, dtype=torch.long))

    def forward(self, student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
        """Return the sum over valid positions and channels, for maps (N, C, H, W) and ``valid`` (N, H, W)."""
        if self.training and self.is_measured:
            self._measure(zero_void(teacher, valid))
        s: Tensor = call_in_dtype(self.connector, student, valid)
        t = teacher.maximum(self.margin.to(teacher.dtype)[:, None, None])
        return (s - t).square().masked_fill(((s <= t) & (t <= 0)) | ~valid[:, None], 0).sum()

    @torch.no_grad()
    def _measure(self, responses: Tensor) -> None:
        negative = responses.clamp(max=0)
        total, count = summed(negative.sum(dim=(0, 2, 3))), summed((negative < 0).sum(dim=(0, 2, 3)))
        self.negatives += count
        self.margin += ((total - count * self.margin) / self.negatives.clamp(min=1)).to(self.margin.dtype)


def margin_of_batch_norm(weight: Tensor, bias: Tensor) -> Tensor:
    r"""Return the margin (C,) of features that come from a batch normalization: their mean where they are negative.

    With :math:`x \sim N(b, s^2)`, :math:`s = |w|`, and :math:`\varphi, \Phi` the density and distribution of N(0, 1),

    .. math:: E[x \mid x < 0] = b - s \, \frac{\varphi(b / s)}{\Phi(-b / s)}

    and -3 s for a channel that is rarely negative, :math:`\Phi(-b / s) \le 0.001`, as in the released code.

    Args:
        weight: Weight of the teacher's batch normalization, shape (C,).
        bias: Bias of the teacher's batch normalization, shape (C,).
    """
    weight, bias = weight.detach(), bias.detach()
    scale = weight.abs()
    ratio = bias / scale.clamp(min=torch.finfo(scale.dtype).tiny)
    density = torch.exp(-ratio.square() / 2) / math.sqrt(2 * math.pi)
    below = torch.special.erfc(ratio / math.sqrt(2)) / 2
    return torch.where(below > 0.001, bias - scale * density / below, -3 * scale)
