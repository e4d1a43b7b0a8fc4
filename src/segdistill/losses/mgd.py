"""MGD, masked generative distillation: rebuild the teacher's features from a part of the student's."""

from typing import Annotated

import torch
from torch import Tensor

from segdistill.losses._checks import Count, Range, checked
from segdistill.losses._declare import loss_function
from segdistill.losses._ops import check_channels, check_shapes, masked_mean, valid_at
from segdistill.losses._rebuild import MaskedRebuild, squared_error


class MGD(MaskedRebuild):
    r"""Squared error of the rebuilt features, summed over channels and positions and averaged over images.

    Where the widths differ, a 1x1 convolution f brings the student's features to the teacher's width. A mask M hides a
    random ``mask_ratio`` of the positions, and the generation block G, two 3x3 convolutions with a ReLU between them,
    predicts the teacher's features :math:`t` everywhere. All convolutions learn with the student.

    .. math:: \frac{1}{N} \sum_{n,c,i} \big(t - \mathcal{G}(f(s) \cdot M)\big)^2

    The value is a sum over channels and positions, so its weight depends on the network and the size of its map.

    Void positions are treated as outside the map: convolutions see zeros there, and they are not compared. Images
    without a valid position are not counted in N.

    Args:
        student_channels: Number of channels of the student's features.
        teacher_channels: Number of channels of the teacher's features.
        mask_ratio: Share of masked positions, the same positions for all channels, 0 <= mask_ratio < 1.
        generator: Random generator of the masks, which are drawn at every call.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: For a hyperparameter out of range.

    Example:
        >>> import torch
        >>> from segdistill.losses import MGD
        >>> _ = torch.manual_seed(0)
        >>> loss = MGD(student_channels=4, teacher_channels=8)
        >>> student, teacher = torch.randn(2, 4, 16, 16), torch.randn(2, 8, 16, 16)
        >>> round(loss(student, teacher).item())  # 8 * 16 * 16 squares, each about 1
        2035

    Reference: Yang et al., ECCV 2022, https://arxiv.org/abs/2205.01529. The released configuration for Cityscapes has
    the ratio 0.75, and the weight 2e-5 for backbone features of 512 and 2048 channels on crops of 512x512. It also
    adds ``cwd`` on the logits with weight 3 and temperature 4. The released code counts void positions.
    """

    equal_channels = False
    needs_teacher = True
    mean_over = "images"

    @checked
    def __init__(
        self,
        *,
        student_channels: Count,
        teacher_channels: Count,
        mask_ratio: Annotated[float, Range(">= 0 and < 1", low=0, high=1, has_high=False)] = 0.75,
        generator: torch.Generator | None = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(
            student_channels=student_channels,
            teacher_channels=teacher_channels,
            mask_ratio=mask_ratio,
            generator=generator,
        )
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
        return _mgd(student, teacher, labels, loss=self)


@loss_function
def _mgd(student: Tensor, teacher: Tensor, labels: Tensor | None, *, loss: MGD) -> Tensor:
    check_shapes(student, teacher, any_channels=True)
    check_channels(student, teacher, student_channels=loss.student_channels, teacher_channels=loss.teacher_channels)
    valid = valid_at(labels, student, loss.ignore_index)
    rebuilt = loss.rebuild(student, loss.draw_kept(student), valid)
    return masked_mean(squared_error(rebuilt, teacher, valid), valid.flatten(1).any(dim=1))
