"""Masks that learned tokens draw on the teacher's map: what MasKD and FreeKD share."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import Count, NonNegative, checked
from segdistill.losses._declare import loss_function
from segdistill.losses._ops import call_in_dtype, check_shapes, labels_at
from segdistill.losses.cross_entropy import cross_entropy
from segdistill.losses.self_taught import SelfTaught


class MaskTokens(SelfTaught):
    r"""A loss that looks where learned tokens say: sets of vectors, each of which draws a mask on the teacher's map.

    The mask of the token :math:`k_t` on a map F is :math:`m_t = \sigma(k_t^\top F)`. The tokens learn in a first stage:
    what the teacher's map still says of the labels where the masks cover it, and masks that do not overlap,

    .. math:: \mathrm{CE}\big(g(\hat F), y\big) + \frac{1}{T (T - 1)} \sum_{t \ne u}
        \frac{2 \langle m_t, m_u \rangle}{\Vert m_t \Vert^2 + \Vert m_u \Vert^2}

    with :math:`\hat F` the masked map. Class scores are their own prediction g; on features a 1x1 convolution that
    learns with the tokens stands for the rest of the teacher, on the masked map standardised over the batch.

    Args:
        channels: Channels of the teacher's map.
        sets: Sets of tokens.
        tokens: Tokens in a set.
        num_classes: Number of classes; None, or the number of channels, for maps that are class scores.
        first_stage: See :class:`segdistill.losses.self_taught.SelfTaught`.
        ignore_index: Label of the positions that do not count.
    """

    equal_channels = True

    @checked
    def __init__(
        self,
        *,
        channels: Count,
        sets: Count,
        tokens: Count,
        num_classes: Count | None,
        first_stage: NonNegative,
        ignore_index: int,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.first_stage = first_stage
        self.ignore_index = ignore_index
        self.tokens = nn.Parameter(0.01 * torch.randn(sets, tokens, channels))
        self.probe: nn.Conv2d | None = None
        if num_classes is not None and num_classes != channels:
            self.probe = nn.Conv2d(channels, num_classes, 1)

    def inner_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the tokens and the 1x1 convolution: all there is."""
        return self.parameters()

    def inner_objective(self, student: Tensor | None, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the objective of the first stage, a scalar; the student is not looked at."""
        return _first_stage(None, teacher, labels, loss=self)

    def inner_optimizer(self) -> torch.optim.Optimizer:
        """Return SGD as in MasKD's released code; its polynomial decay is left to the caller."""
        return torch.optim.SGD(self.inner_parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)

    def masked(self, teacher: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map under its masks, of the same shape, and how much these overlap, a scalar.

        Args:
            teacher: Shape (N, C, H, W).
            valid: Boolean (N, H, W).
        """
        raise NotImplementedError

    def counted(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return which positions count, boolean (N, H, W), once all shapes are as they must be."""
        check_shapes(student, teacher)
        if teacher.shape[1] != self.channels:
            raise ValueError(f"teacher must have channels={self.channels}, got {tuple(teacher.shape)}")
        return labels_at(labels, teacher) != self.ignore_index


@loss_function
def _first_stage(student: None, teacher: Tensor, labels: Tensor | None, *, loss: MaskTokens) -> Tensor:
    valid = loss.counted(teacher, teacher, labels)
    scores, overlap = loss.masked(teacher, valid)
    if loss.probe is not None:
        # Standardised, so that the learning rate, made for class scores, holds for features of any scale.
        scores = call_in_dtype(loss.probe, F.batch_norm(scores, None, None, training=True))
    return cross_entropy(scores, None, labels_at(labels, scores), ignore_index=loss.ignore_index) + overlap


def draw_masks(tokens: Tensor, maps: Tensor, valid: Tensor) -> Tensor:
    """Masks (N, tokens, H, W) of ``tokens`` (tokens, C) on ``maps`` (N, C, H, W), zero outside ``valid`` (N, H, W)."""
    masks = (tokens.to(maps) @ maps.flatten(2)).sigmoid()
    return masks.view(len(maps), len(tokens), *maps.shape[2:]).masked_fill(~valid[:, None], 0)


def mean_overlap(masks: Tensor) -> Tensor:
    """Dice coefficient of two masks of an image, mean over images and pairs; zero for one mask alone."""
    flat = masks.flatten(2)
    products = flat @ flat.mT  # (N, tokens, tokens)
    squares = products.diagonal(dim1=1, dim2=2)
    dice = 2 * products / (squares[:, :, None] + squares[:, None] + 2e-12)
    own = torch.eye(masks.shape[1], dtype=torch.bool, device=masks.device)
    return dice.masked_fill(own, 0).sum() / max(1, len(masks) * masks.shape[1] * (masks.shape[1] - 1))
