"""OFD, overhaul of feature distillation: match what the teacher's features hold above a margin, layer by layer."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdistill.losses._checks import Count, checked
from segdistill.losses._connector import Connector
from segdistill.losses._declare import loss_function
from segdistill.losses._ops import call_in_dtype, check_maps, valid_at, valid_rows
from segdistill.losses._processes import summed


class OFD(nn.Module):
    r"""Squared distance to the teacher's features, where these say something.

    With the teacher's features cut off below at a negative margin a channel, :math:`t = \max(f^T, m_c)`, and the
    student's behind a connector (1x1 convolution and batch normalisation) :math:`s`, the mean over images of

    .. math:: \sum_{l=1}^{L} 2^{l-L} \sum_{i,c} [ s_{ic} > t_{ic} \text{ or } t_{ic} > 0 ] (s_{ic} - t_{ic})^2

    over the maps l, shallow to deep: where the teacher is silent the student need only be silent too. The inner sum
    grows with the map and its width; the published weights belong to it. The batch normalisation leaves void positions
    out.

    The margin of a channel is the mean of its negative responses. Given, it stays; else it is measured: the mean over
    all that the teacher has answered in training so far, in all processes, and 0 for a channel never negative.

    Args:
        student_channels: Channels of each of the student's maps, shallow to deep.
        teacher_channels: Channels of the teacher's.
        margin: One vector (C,) for each of the teacher's maps; see :func:`margin_of_batch_norm`. None measures it.
        ignore_index: Label of the positions that do not count.

    Raises:
        ValueError: If the numbers of maps differ, or a margin has not the teacher's channels.

    Example:
        >>> import torch
        >>> from segdistill.losses import OFD
        >>> _ = torch.manual_seed(0)
        >>> loss = OFD(student_channels=[1], teacher_channels=[1])
        >>> student = (torch.tensor([[[[-1.0, 1.0], [-1.0, 1.0]]]]),)
        >>> round(loss(student, (torch.zeros(1, 1, 2, 2),)).item(), 2)  # two positions where only the student is active
        2.0

    Reference: Heo et al., ICCV 2019, https://arxiv.org/abs/1904.01866. The divisors 8, 4, 2, 1 of four maps are the
    released code's for the four stages in segmentation, and the same rule its for classification; its 1 and 16 for
    DeepLab's head and decoder are left out. That code counts void positions, sets its teacher to batch statistics,
    and trains the connectors alone in a first epoch. The paper's features are those before a ReLU: behind one there
    is no negative response, and what remains is the distance where the teacher answers or the student does.
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
            raise ValueError("student_channels, teacher_channels and margin must have one entry a map, as many of each")
        self.student_channels = tuple(student_channels)
        self.teacher_channels = tuple(teacher_channels)
        self.ignore_index = ignore_index
        margins = [None] * len(self.teacher_channels) if margin is None else margin
        triples = zip(self.student_channels, self.teacher_channels, margins, strict=True)
        self.layers = nn.ModuleList(_Layer(*triple) for triple in triples)

    def forward(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar.

        Args:
            student: Features, each (N, C, H, W) with its own C, H and W.
            teacher: As many of the same N, H and W; no gradient reaches them.
            labels: Class indices, shape (N, H', W'); None counts every position.

        Raises:
            ValueError: If these are no tuples of as many maps as the loss was built for, or the shapes differ.
        """
        return _ofd(student, teacher, labels, loss=self)


@loss_function
def _ofd(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], labels: Tensor | None, *, loss: OFD) -> Tensor:
    check_maps(student, teacher, student_channels=loss.student_channels, teacher_channels=loss.teacher_channels)
    levels = []
    for layer, s, t in zip(loss.layers, student, teacher, strict=True):
        valid = valid_at(labels, s, loss.ignore_index)  # (N, H, W)
        images = valid.flatten(1).any(dim=1).sum().clamp(min=1)
        levels.append(layer(valid_rows(s, valid), valid_rows(t, valid)) / images)
    return torch.stack([level / 2 ** (len(levels) - number) for number, level in enumerate(levels, start=1)]).sum()


class _Layer(nn.Module):
    """Connector and margin of one map.

    Attributes:
        margin: Shape (C,), saved with the state.
        negatives: How many responses of each channel it is the mean of, shape (C,).
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

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the sum over rows and channels, for ``student`` (rows, C) and ``teacher`` (rows, C')."""
        if self.training and self.is_measured:
            self._measure(teacher)
        s: Tensor = call_in_dtype(self.connector, student)
        t = teacher.maximum(self.margin.to(teacher.dtype))
        return (s - t).square().masked_fill((s <= t) & (t <= 0), 0).sum()

    @torch.no_grad()
    def _measure(self, responses: Tensor) -> None:
        total, count = summed(responses.clamp(max=0).sum(dim=0)), summed((responses < 0).sum(dim=0))
        self.negatives += count
        self.margin += ((total - count * self.margin) / self.negatives.clamp(min=1)).to(self.margin.dtype)


def margin_of_batch_norm(weight: Tensor, bias: Tensor) -> Tensor:
    r"""Margin (C,) of features straight from a batch normalisation: their mean where they are negative.

    With :math:`x \sim N(b, s^2)`, :math:`s = |w|`, and :math:`\varphi, \Phi` density and distribution of N(0, 1),

    .. math:: E[x \mid x < 0] = b - s \, \frac{\varphi(b / s)}{\Phi(-b / s)}

    and -3 s for a channel that is hardly ever negative, :math:`\Phi(-b / s) \le 0.001`, as in the released code.

    Args:
        weight: Weight of the teacher's batch normalisation, shape (C,).
        bias: Its bias, shape (C,).
    """
    weight, bias = weight.detach(), bias.detach()
    scale = weight.abs()
    ratio = bias / scale.clamp(min=torch.finfo(scale.dtype).tiny)
    density = torch.exp(-ratio.square() / 2) / math.sqrt(2 * math.pi)
    below = torch.special.erfc(ratio / math.sqrt(2)) / 2
    return torch.where(below > 0.001, bias - scale * density / below, -3 * scale)
