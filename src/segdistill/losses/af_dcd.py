"""Af-DCD: masked feature distillation, and a contrast of channel groups within patches (omni-contrast)."""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from segdistill.losses._checks import Count, NonNegative, Positive, Range, checked
from segdistill.losses._declare import loss_function
from segdistill.losses._ops import check_channels, check_shapes, hide_void, masked_mean, valid_at
from segdistill.losses._rebuild import MaskedRebuild, squared_error

# Numbers that the contrast holds at a time, in its distances and, on CUDA, their backward pass: 256 MB in float32.
_NUMBERS_AT_A_TIME = 2**26


class AfDCD(MaskedRebuild):
    r"""Weighted sum of masked feature distillation and omni-contrast.

    Where the widths differ, a 1x1 convolution brings the student's features to the teacher's width. A random
    ``mask_ratio`` of the positions is masked, and two 3x3 convolutions with a ReLU between them predict the teacher's
    features :math:`t` from the rest. All convolutions learn with the student. With the prediction :math:`y`,

    .. math:: w_\mathrm{fd} \frac{1}{N} \sum_{n,c,i} (y - t)^2 + w_\mathrm{contrast} \frac{1}{N P} \sum_{n,i,g}
        -\log \frac{e^{-d(i,g;\, i,g)}}{e^{-d(i,g;\, i,g)} + \sum_{j,\, h \ne g} e^{-d(i,g;\, j,h)}}, \qquad
        d(i,g;\, j,h) = \Vert y_{i,g} - t_{j,h} \Vert_1 / \tau

    The second term uses maps max-pooled to P positions, whose channels form ``groups``: :math:`y_{i,g}` are the
    channels of group g at position i, and j runs over the positions of the patch that contains i. Both terms are sums
    over channels, and the first is also a sum over positions, so their weights depend on the network and the size of
    its map.

    Void positions are treated as outside the map: convolutions see zeros there, and the max pooling ignores them. They
    are not compared, not used as negatives and not counted in P. Images without a valid position are not counted in N.
    Where ``pool * patch`` does not divide a side, void positions are added at its end, so that the whole map is used
    (the released code raises an error; for CamVid it uses the first 44x44 positions, and does not pool: ``pool=1``).

    The distances of all pairs of a patch are computed in blocks of patches, of at most 256 MB, and computed again in
    the backward pass.

    Args:
        student_channels: Number of channels of the student's features.
        teacher_channels: Number of channels of the teacher's features.
        groups: Number of groups of adjacent channels, >= 2. Must divide teacher_channels.
        pool: Kernel and stride of the max pooling before the contrast; 1 disables it.
        patch: Side of a patch, in pooled positions.
        mask_ratio: Share of masked positions, the same positions for all channels, 0 <= mask_ratio < 1.
        temperature: Temperature of the contrast, > 0.
        fd_weight: Weight of the masked feature distillation.
        contrast_weight: Weight of the contrast.
        generator: Random generator of the masks, which are drawn at every call.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: For a hyperparameter out of range.

    Example:
        >>> import torch
        >>> from segdistill.losses import AfDCD
        >>> _ = torch.manual_seed(0)
        >>> loss = AfDCD(student_channels=4, teacher_channels=8, groups=2)
        >>> student, teacher = torch.randn(2, 4, 16, 16), torch.randn(2, 8, 16, 16)
        >>> round(loss(student, teacher).item(), 2)
        0.24

    Reference: Fan et al., Af-DCD, NeurIPS 2023, https://arxiv.org/abs/2312.04168, following its released code. The
    default weights are its weights for Cityscapes (1e-6 and 5e-3 for VOC, 8e-6 and 1e-2 for CamVid, 1e-6 and 4e-2 for
    ADE20K). That code fails where student and teacher have the same width. It clips the gradients of the convolutions
    to a norm of 15. Its larger projector, which its script for Cityscapes with ResNet-18 asks for with an option that
    its parser does not know, is not included.
    """

    equal_channels = False
    needs_teacher = True

    @checked
    def __init__(
        self,
        *,
        student_channels: Count,
        teacher_channels: Count,
        groups: int = 16,
        pool: Count = 4,
        patch: Count = 4,
        mask_ratio: Annotated[float, Range(">= 0 and < 1", low=0, high=1, has_high=False)] = 0.75,
        temperature: Positive = 0.07,
        fd_weight: NonNegative = 2e-6,
        contrast_weight: NonNegative = 5e-3,
        generator: torch.Generator | None = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(
            student_channels=student_channels,
            teacher_channels=teacher_channels,
            mask_ratio=mask_ratio,
            generator=generator,
        )
        if groups < 2 or teacher_channels % groups:
            raise ValueError(f"groups must be >= 2 and divide teacher_channels={teacher_channels}, got {groups}")
        self.groups = groups
        self.pool = pool
        self.patch = patch
        self.temperature = temperature
        self.fd_weight = fd_weight
        self.contrast_weight = contrast_weight
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar.

        Args:
            student: Features, shape (N, student_channels, H, W).
            teacher: Features, shape (N, teacher_channels, H, W); no gradient reaches it.
            labels: Class indices, shape (N, H', W'); None counts every position.

        Raises:
            ValueError: If N, H or W differ, or the channels are not those of the constructor.
        """
        return _af_dcd(student, teacher, labels, loss=self)


@loss_function
def _af_dcd(student: Tensor, teacher: Tensor, labels: Tensor | None, *, loss: AfDCD) -> Tensor:
    check_shapes(student, teacher, any_channels=True)
    check_channels(student, teacher, student_channels=loss.student_channels, teacher_channels=loss.teacher_channels)
    valid = valid_at(labels, student, loss.ignore_index)
    rebuilt = loss.rebuild(student, loss.draw_kept(student), valid)
    distillation = masked_mean(squared_error(rebuilt, teacher, valid), valid.flatten(1).any(dim=1))
    contrast = _omni_contrast(
        rebuilt, teacher, valid, groups=loss.groups, pool=loss.pool, patch=loss.patch, temperature=loss.temperature
    )
    return loss.fd_weight * distillation + loss.contrast_weight * contrast


def _omni_contrast(
    student: Tensor, teacher: Tensor, valid: Tensor, *, groups: int, pool: int, patch: int, temperature: float
) -> Tensor:
    """Return the contrast of :class:`AfDCD`: a sum over groups, averaged over the valid pooled positions.

    Args:
        student: Shape (N, C, H, W).
        teacher: Same shape.
        valid: Boolean (N, H, W).
        groups: As in :class:`AfDCD`.
        pool: As in :class:`AfDCD`.
        patch: As in :class:`AfDCD`.
        temperature: As in :class:`AfDCD`.
    """
    height, width = valid.shape[1:]
    missing = (0, -width % (pool * patch), 0, -height % (pool * patch))
    valid = F.pad(valid, missing)  # with False
    pooled = F.max_pool2d(valid.float(), pool) > 0
    s, t = (F.max_pool2d(hide_void(F.pad(maps, missing), valid), pool) for maps in (student, teacher))
    s, t = (_vectors(maps, groups, patch) for maps in (s, t))  # (patches, vectors, channels)
    counted = _vectors(pooled[:, None].expand(-1, groups, -1, -1), groups, patch)[..., 0]  # (patches, vectors)

    vectors, channels = s.shape[1:]
    index = torch.arange(vectors, device=s.device)
    same_group = index % groups == index[:, None] % groups
    positive = index == index[:, None]

    def block(s: Tensor, t: Tensor, counted: Tensor) -> Tensor:
        similarity = -torch.cdist(s, t, p=1) / temperature  # (patches, vectors, vectors)
        left_out = (same_group | ~counted[:, None]) & ~positive
        similarity = similarity.masked_fill(left_out, torch.finfo(s.dtype).min / 2)
        entropy = similarity.logsumexp(dim=2) - similarity.diagonal(dim1=1, dim2=2)
        return entropy.masked_fill(~counted, 0).sum()

    # About six maps of distances are in memory at once, and on CUDA the backward pass holds all differences.
    size = max(1, _NUMBERS_AT_A_TIME // (vectors**2 * (channels + 6)))
    blocks = list(zip(*(torch.split(x, size) for x in (s, t, counted)), strict=True))
    if len(blocks) == 1:
        total = block(*blocks[0])
    else:
        sums = [checkpoint(block, *x, use_reentrant=False, preserve_rng_state=False) for x in blocks]
        total = torch.stack(sums).sum()
    return total / pooled.sum().clamp(min=1)


def _vectors(maps: Tensor, groups: int, patch: int) -> Tensor:
    """Cut (N, C, H, W) into (N * patches, patch * patch * groups, C / groups), with a position's groups adjacent."""
    images, channels, height, width = maps.shape
    cut = maps.reshape(images, groups, channels // groups, height // patch, patch, width // patch, patch)
    return cut.permute(0, 3, 5, 4, 6, 1, 2).flatten(0, 2).flatten(1, 3)
