"""ReviewKD: fuse the student's features from deep to shallow, and match the teacher's features at each level."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._batch_norm import BatchNorm
from segdistill.losses._checks import Count, checked
from segdistill.losses._declare import loss_function
from segdistill.losses._ops import call_in_dtype, check_maps, masked_mean, pool_valid, valid_at, zero_void

# Sides, in cells, of the pooled maps that are compared in addition to the full map.
_SIDES = (4, 2, 1)


class ReviewKD(nn.Module):
    r"""Hierarchical distance between the teacher's maps and the student's, fused from deep to shallow.

    Starting at the deepest map, attention based fusion (ABF) fuses each of the student's maps :math:`f_l` with the
    fused map of the next deeper level,

    .. math:: x = \mathrm{conv}_1(f_l), \quad r_l = a_1 x + a_2 r_{l+1}, \quad
        (a_1, a_2) = \sigma(\mathrm{conv}([x, r_{l+1}])), \quad s_l = \mathrm{conv}_3(r_l)

    where :math:`r_{l+1}` is resized by nearest neighbor, and the deepest r is x. The value is the sum over maps of the
    hierarchical context loss (HCL). With :math:`p_0` the map and :math:`p_k` its average pooling to 4 x 4, 2 x 2 and
    1 x 1 cells, where these are smaller than the map, the HCL is

    .. math:: \sum_k 2^{-k} \, \mathrm{mean} \big(p_k(s_l) - p_k(f^T_l)\big)^2 \Big/ \sum_k 2^{-k}

    Void positions are excluded from the HCL, and set to zero before the student's convolutions. Their content has no
    effect, but their neighbors see the zeros.

    Args:
        student_channels: Number of channels of each of the student's maps, shallow to deep.
        teacher_channels: Number of channels of each of the teacher's maps.
        width: Number of channels of the fused maps, at most the number of channels of the student's deepest map.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If the numbers of maps differ.

    Example:
        >>> import torch
        >>> from segdistill.losses import ReviewKD
        >>> _ = torch.manual_seed(0)
        >>> loss = ReviewKD(student_channels=[4, 8], teacher_channels=[8, 16])
        >>> student = (torch.randn(2, 4, 8, 8), torch.randn(2, 8, 4, 4))
        >>> teacher = (torch.randn(2, 8, 8, 8), torch.randn(2, 16, 4, 4))
        >>> round(loss(student, teacher).item(), 2)
        2.56

    Reference: Chen et al., CVPR 2021, https://arxiv.org/abs/2104.09044. The released code assumes square maps, and
    decides by the height alone which poolings to skip. Its factor min(1, epoch / 20) is a schedule. It
    compares the stages before their last ReLU, ``"stage1:pre"`` to ``"stage4:pre"`` by default.
    """

    equal_channels = False
    needs_teacher = True

    @checked
    def __init__(
        self,
        *,
        student_channels: Sequence[Count],
        teacher_channels: Sequence[Count],
        width: Count = 512,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        if len(student_channels) != len(teacher_channels):
            raise ValueError(
                "student_channels and teacher_channels must have one entry per map, "
                f"got {len(student_channels)} and {len(teacher_channels)}"
            )
        self.student_channels = tuple(student_channels)
        self.teacher_channels = tuple(teacher_channels)
        self.ignore_index = ignore_index
        width = min(width, self.student_channels[-1])
        self.fusions = nn.ModuleList(
            _Fusion(channels, width, out, joins=number < len(self.student_channels))
            for number, (channels, out) in enumerate(zip(student_channels, teacher_channels, strict=True), start=1)
        )

    def forward(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar.

        Args:
            student: Tuple of features (N, C, H, W), shallow to deep. C, H and W may differ between maps.
            teacher: The same number of maps, with the same N, H and W; no gradient reaches them.
            labels: Class indices, shape (N, H', W'); None counts every position.

        Raises:
            ValueError: If student or teacher is not a tuple of the maps that the loss was built for, or the shapes
                differ.
        """
        return _reviewkd(student, teacher, labels, loss=self)


@loss_function
def _reviewkd(
    student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], labels: Tensor | None, *, loss: ReviewKD
) -> Tensor:
    check_maps(student, teacher, student_channels=loss.student_channels, teacher_channels=loss.teacher_channels)
    levels, deeper = [], None
    for fusion, s, t in reversed(list(zip(loss.fusions, student, teacher, strict=True))):
        valid = valid_at(labels, s, loss.ignore_index)  # (N, H, W)
        fused, deeper = call_in_dtype(fusion, zero_void(s, valid), deeper)
        levels.append(_hierarchical(fused, t, valid))
    return torch.stack(levels).sum()


def _hierarchical(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Return the HCL of two maps (N, C, H, W) where ``valid`` (N, H, W)."""
    difference = student - teacher  # pooling is linear
    sizes = [valid.shape[1:], *((side, side) for side in _SIDES if side < min(valid.shape[1:]))]
    pooled = [pool_valid(difference, valid, (height, width)) for height, width in sizes]
    distances = [masked_mean(cells.square().mean(dim=1), filled) for cells, filled in pooled]
    weights = [0.5**k for k in range(len(sizes))]
    return torch.stack([w * d for w, d in zip(weights, distances, strict=True)]).sum() / sum(weights)


class _Fusion(nn.Module):
    """ABF of one level. ``joins`` is True if there is a deeper level."""

    def __init__(self, channels: int, width: int, out: int, *, joins: bool) -> None:
        super().__init__()
        enter = nn.Conv2d(channels, width, 1, bias=False)
        leave = nn.Conv2d(width, out, 3, padding=1, bias=False)
        for convolution in (enter, leave):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
        self.enter = nn.Sequential(enter, BatchNorm(width))
        self.leave = nn.Sequential(leave, BatchNorm(out))
        self.attention = nn.Sequential(nn.Conv2d(2 * width, 2, 1), nn.Sigmoid()) if joins else None

    def forward(self, x: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the map to compare (N, out, H, W), and the fused map (N, width, H, W) for the next shallower level."""
        x = self.enter(x)
        if self.attention is not None and deeper is not None:
            deeper = F.interpolate(deeper, x.shape[2:], mode="nearest")
            a1, a2 = self.attention(torch.cat([x, deeper], dim=1)).split(1, dim=1)
            x = a1 * x + a2 * deeper
        return self.leave(x), x
