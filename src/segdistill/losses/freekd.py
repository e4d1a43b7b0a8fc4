"""FreeKD: match the teacher's high frequencies inside masks that learned tokens draw."""

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses._checks import Count, NonNegative, checked
from segdistill.losses._declare import loss_function
from segdistill.losses._mask_tokens import MaskTokens, draw_masks, mean_overlap
from segdistill.losses._ops import masked_mean, zero_void


class FreeKD(MaskTokens):
    r"""Absolute difference of the masked Haar coefficients, summed over the levels of the transform.

    Level l of the transform halves the low-pass map of the previous level and yields coefficients :math:`W^{l,o}` of
    three orientations o. With :math:`m^l_t = \sigma(k_{l,t}^\top \sum_o W^{l,o}_T)` the masks of the tokens of level l,

    .. math:: \sum_l \frac{1}{3 N T C h_l w_l} \sum_{n,t,c,o,i} m^l_{t,i}
        \big| W^{l,o}_{S,c,i} - W^{l,o}_{T,c,i} \big|

    All tokens learn in a first stage, including those of the last low-pass map, which is not compared. Its objective is
    the cross-entropy of the classes predicted from the map that the inverse transform makes of the masked coefficients,
    at the map's resolution, plus the mean Dice coefficient of two masks, summed over the sets of tokens.

    Args:
        channels: Number of channels of the teacher's features.
        tokens: Number of masks per level.
        levels: Number of levels of the transform. A position of the last level spans 2^levels positions of the map.
        num_classes: Number of classes that a 1x1 convolution predicts in the first stage. If it equals ``channels``,
            the maps are class scores and there is no convolution.
        first_stage: Share of the run's steps in which the tokens learn before the student does.
        ignore_index: Label of ignored positions. They are zero in both maps, like positions beyond the edge.
            Coefficients of void positions only are ignored.

    Raises:
        ValueError: For a hyperparameter out of range.

    Example:
        >>> import torch
        >>> from segdistill.losses import FreeKD
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]]])  # (1, 2, 2, 2)
        >>> loss = FreeKD(channels=2, num_classes=2, levels=1)
        >>> labels = torch.zeros(1, 2, 2, dtype=torch.long)
        >>> round(loss(x, x.flip(1), labels).item(), 1)  # new masks are about 0.5 everywhere
        1.0

    Reference: Zhang et al., CVPR 2024, https://arxiv.org/abs/2311.12079, following the code released for detection;
    none was released for segmentation. The paper also weights positions and channels (its position-aware relational
    frequency loss); the code does not. What the code names horizontal, vertical and diagonal are three levels with all
    orientations each. In its first stage the rest of the teacher predicts the classes; here a 1x1 convolution does. The
    optimizer and the length of the stage are MasKD's.
    """

    @checked
    def __init__(
        self,
        *,
        channels: Count,
        tokens: Count = 6,
        levels: Count = 3,
        num_classes: Count,
        first_stage: NonNegative = 0.25,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(
            channels=channels,
            sets=1 + levels,  # the first for the low-pass map
            tokens=tokens,
            num_classes=num_classes,
            first_stage=first_stage,
            ignore_index=ignore_index,
        )

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar.

        Args:
            student: Features, shape (N, channels, H, W).
            teacher: Same shape; no gradient reaches it.
            labels: Class indices, shape (N, H', W'); required, as in the first stage.

        Raises:
            ValueError: If the shapes differ or labels are missing.
        """
        return _freekd(student, teacher, labels, loss=self)

    def masked(self, teacher: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inverse transform of the masked coefficients, and the overlap of the masks, summed over sets."""
        low, masked, overlaps = zero_void(teacher, valid), [], []
        for tokens in self.tokens[1:]:
            low, high, valid = _next_level(low, valid)
            masks = draw_masks(tokens, high.sum(dim=2), valid)
            masked.append(masks.sum(dim=1)[:, None, None] * high)
            overlaps.append(mean_overlap(masks))
        masks = draw_masks(self.tokens[0], low, valid)
        low = masks.sum(dim=1, keepdim=True) * low
        for high in reversed(masked):
            low = low[..., : high.shape[3], : high.shape[4]]
            low = _inverse_haar(torch.cat([low[:, :, None], high], dim=2))
        return low[..., : teacher.shape[2], : teacher.shape[3]], torch.stack([*overlaps, mean_overlap(masks)]).sum()


@loss_function
def _freekd(student: Tensor, teacher: Tensor, labels: Tensor | None, *, loss: FreeKD) -> Tensor:
    valid = loss.counted(student, teacher, labels)
    # The transform is linear: the coefficients of the difference are the difference of the coefficients.
    difference, low = (zero_void(x, valid) for x in (student - teacher, teacher))
    total = student.new_zeros(())
    for tokens in loss.tokens[1:].detach():
        difference, coefficients, _ = _next_level(difference, valid)
        low, high, valid = _next_level(low, valid)
        masks = draw_masks(tokens, high.sum(dim=2), valid)
        # A mask is positive and the same for all channels, so the product (N, tokens, C, 3, h, w) is not needed.
        total = total + masked_mean(masks.mean(dim=1) * coefficients.abs().mean(dim=(1, 2)), valid)
    return total


def _next_level(low: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the low-pass map of ``low`` (N, C, H, W), its coefficients (N, C, 3, h, w) and where any is valid."""
    blocks = _haar(low)
    any_valid = F.max_pool2d(valid.to(low.dtype), 2, ceil_mode=True) > 0
    return blocks[:, :, 0], blocks[:, :, 1:], any_valid


def _transformed(blocks: Tensor) -> Tensor:
    """Return the Haar transform of 2x2 blocks in row-major order, shape (N, C, 4, h, w). It is its own inverse."""
    a, b, c, d = blocks.unbind(2)
    return torch.stack([a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d], dim=2) / 2


def _haar(maps: Tensor) -> Tensor:
    """Transform the 2x2 blocks of ``maps`` (N, C, H, W), padded with zeros to even sides.

    Returns:
        The low-pass map and the differences of the rows, of the columns and of the diagonals, shape (N, C, 4, h, w).
    """
    padded = F.pad(maps, (0, maps.shape[3] % 2, 0, maps.shape[2] % 2))
    blocks = F.pixel_unshuffle(padded, 2)
    blocks = blocks.view(*maps.shape[:2], 4, *blocks.shape[2:])
    return _transformed(blocks)


def _inverse_haar(coefficients: Tensor) -> Tensor:
    """Return the maps (N, C, 2h, 2w) with ``coefficients`` (N, C, 4, h, w)."""
    return F.pixel_shuffle(_transformed(coefficients).flatten(1, 2), 2)
