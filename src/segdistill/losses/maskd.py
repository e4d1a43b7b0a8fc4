"""MasKD: match the teacher inside masks that learned tokens draw."""

from torch import Tensor

from segdistill.losses._checks import Count, NonNegative, checked
from segdistill.losses._declare import loss_function
from segdistill.losses._mask_tokens import MaskTokens, draw_masks, mean_overlap
from segdistill.losses._ops import masked_mean


class MasKD(MaskTokens):
    r"""Squared difference inside each mask, averaged over images, masks and channels.

    With :math:`m_t = \sigma(k_t^\top F_T)` the mask of token t on the teacher's map,

    .. math:: \frac{1}{2 N T C} \sum_{n,t,c}
        \frac{\sum_i m_{t,i}^2 (F_{S,c,i} - F_{T,c,i})^2}{\sum_i m_{t,i} + 10^{-5}}

    The tokens learn in a first stage. Its objective is the cross-entropy of the teacher's map times the sum of its
    masks, at the map's resolution, plus the mean Dice coefficient of two masks. The value passes them no gradient.

    Args:
        channels: Number of channels of the teacher's map.
        tokens: Number of masks.
        num_classes: Number of classes; None, or the number of channels, for maps of class scores. For features, a 1x1
            convolution predicts the classes in the first stage.
        first_stage: Share of the run's steps in which the tokens learn before the student does.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: For a hyperparameter out of range.

    Example:
        >>> import torch
        >>> from segdistill.losses import MasKD
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]]])  # (1, 2, 2, 2)
        >>> loss = MasKD(channels=2)
        >>> labels = torch.zeros(1, 2, 2, dtype=torch.long)
        >>> round(loss(x, x + 2, labels).item(), 1)  # new masks are about 0.5 everywhere
        1.0

    Reference: Huang et al., ICLR 2023, https://arxiv.org/abs/2205.14589, following the code released for segmentation,
    on class scores: 10k steps for the tokens, then 40k. That code adds 0.4 times the loss of the auxiliary heads, in
    masks that the same tokens draw. The method ``maskd_aux`` is close: it has a second term of weight 0.4, with tokens
    of the auxiliary head. That code trains the student with ``train.weight_decay=5e-4 train.floor=1e-4``, and validates
    every 400 steps. In the first stage it counts void positions, upsamples the masked scores to the labels, and has the
    teacher in training mode. The released version for features (detection) runs the rest of the teacher on the masked
    map; here a 1x1 convolution does. That version also has a head that weights the masks, and masks of the student,
    which are not included.
    """

    mean_over = "images"

    @checked
    def __init__(
        self,
        *,
        channels: Count,
        tokens: Count = 8,
        num_classes: Count | None = None,
        first_stage: NonNegative = 0.25,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(
            channels=channels,
            sets=1,
            tokens=tokens,
            num_classes=num_classes,
            first_stage=first_stage,
            ignore_index=ignore_index,
        )

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar.

        Args:
            student: Class scores or features, shape (N, channels, H, W).
            teacher: Same shape; no gradient reaches it.
            labels: Class indices, shape (N, H', W'); required, as in the first stage.

        Raises:
            ValueError: If the shapes differ or labels are missing.
        """
        return _maskd(student, teacher, labels, loss=self)

    def masked(self, teacher: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map times the sum of its masks, and the overlap of the masks."""
        masks = draw_masks(self.tokens[0], teacher, valid)
        return masks.sum(dim=1, keepdim=True) * teacher, mean_overlap(masks)


@loss_function
def _maskd(student: Tensor, teacher: Tensor, labels: Tensor | None, *, loss: MasKD) -> Tensor:
    valid = loss.counted(student, teacher, labels)
    masks = draw_masks(loss.tokens[0].detach(), teacher, valid).flatten(2)  # (N, tokens, H * W)
    # A product of matrices, so that the masked maps (N, tokens, C, H, W) are never held.
    sums = masks.square() @ (student - teacher).square().flatten(2).mT  # (N, tokens, C)
    means = sums / (masks.sum(dim=2, keepdim=True) + 1e-5)
    return masked_mean(means.mean(dim=(1, 2)) / 2, valid.flatten(1).any(dim=1))
