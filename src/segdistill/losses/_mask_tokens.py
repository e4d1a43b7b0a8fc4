"""Masks that learned tokens draw on the teacher's map, shared by MasKD and FreeKD."""

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
    r"""Base class of losses inside masks, which learned tokens (sets of vectors) draw on the teacher's map.

    The mask of token :math:`k_t` on a map F is :math:`m_t = \sigma(k_t^\top F)`. The tokens learn in a first stage.
    Its objective asks that the masked map :math:`\hat F` predicts the labels y, and that the T masks do not overlap:

    .. math:: \mathrm{CE}\big(g(\hat F), y\big) + \frac{1}{T (T - 1)} \sum_{t \ne u}
        \frac{2 \langle m_t, m_u \rangle}{\Vert m_t \Vert^2 + \Vert m_u \Vert^2}

    If the map is class scores, g is the identity. If it is features, g is a 1x1 convolution that replaces the rest of
    the teacher: it learns with the tokens and reads the masked map, standardized over the batch.

    Args:
        channels: Number of channels of the teacher's map.
        sets: Number of sets of tokens.
        tokens: Number of tokens in a set.
        num_classes: Number of classes; None, or the number of channels, for maps of class scores.
        first_stage: See :class:`segdistill.losses.self_taught.SelfTaught`.
        ignore_index: Label of ignored positions.
    """

    equal_channels = True
    inner_power = 0.9

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
        """Yield all parameters: those of the tokens and of the 1x1 convolution."""
        return self.parameters()

    def inner_objective(self, student: Tensor | None, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the objective of the first stage, a scalar. The student is not used."""
        return _first_stage(None, teacher, labels, loss=self)

    def inner_optimizer(self) -> torch.optim.Optimizer:
        """Return SGD as in MasKD's released code, whose rate decays with :attr:`inner_power`."""
        return torch.optim.SGD(self.inner_parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)

    def masked(self, teacher: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the masked map, of the same shape, and the overlap of the masks, a scalar.

        Args:
            teacher: Shape (N, C, H, W).
            valid: Boolean (N, H, W).
        """
        raise NotImplementedError

    def counted(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Check all shapes and return the positions that are not ignored, boolean (N, H, W)."""
        check_shapes(student, teacher)
        if teacher.shape[1] != self.channels:
            raise ValueError(f"teacher must have channels={self.channels}, got {tuple(teacher.shape)}")
        return labels_at(labels, teacher) != self.ignore_index


@loss_function
def _first_stage(student: None, teacher: Tensor, labels: Tensor | None, *, loss: MaskTokens) -> Tensor:
    valid = loss.counted(teacher, teacher, labels)
    scores, overlap = loss.masked(teacher, valid)
    if loss.probe is not None:
        # Standardized, so that the learning rate for class scores also suits features of any scale.
        scores = call_in_dtype(loss.probe, _standardized(scores))
    return cross_entropy(scores, None, labels_at(labels, scores), ignore_index=loss.ignore_index) + overlap


def _standardized(scores: Tensor) -> Tensor:
    """Normalize each channel of ``scores`` (N, C, H, W) by the statistics of the batch, unless it has one value."""
    single = scores.numel() <= scores.shape[1]
    return scores if single else F.batch_norm(scores, None, None, training=True)


def draw_masks(tokens: Tensor, maps: Tensor, valid: Tensor) -> Tensor:
    """Return masks (N, tokens, H, W) of ``tokens`` (tokens, C) on ``maps`` (N, C, H, W), zero outside ``valid``."""
    masks = (tokens.to(maps) @ maps.flatten(2)).sigmoid()
    return masks.view(len(maps), len(tokens), *maps.shape[2:]).masked_fill(~valid[:, None], 0)


def mean_overlap(masks: Tensor) -> Tensor:
    """Return the Dice coefficient of two masks, averaged over pairs and images; zero for a single mask."""
    flat = masks.flatten(2)
    products = flat @ flat.mT  # (N, tokens, tokens)
    squares = products.diagonal(dim1=1, dim2=2)
    dice = 2 * products / (squares[:, :, None] + squares[:, None] + 2e-12)
    diagonal = torch.eye(masks.shape[1], dtype=torch.bool, device=masks.device)
    return dice.masked_fill(diagonal, 0).sum() / max(1, len(masks) * masks.shape[1] * (masks.shape[1] - 1))
