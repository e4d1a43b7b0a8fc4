"""Layers that rebuild the teacher's features from a part of the student's, trained with the student."""

import torch
from torch import Tensor, nn

from segdistill.losses._ops import call_in_dtype, random_on, zero_void


class MaskedRebuild(nn.Module):
    """Mask positions of the student's map, and predict the teacher's map from the rest.

    Where the widths differ, a 1x1 convolution brings the student's features to the teacher's width first. Two 3x3
    convolutions with a ReLU between them predict.

    Args:
        student_channels: Number of channels of the student's features.
        teacher_channels: Number of channels of the teacher's features.
        mask_ratio: Share of masked positions, the same positions for all channels, 0 <= mask_ratio < 1.
        generator: Random generator of the masks.
    """

    def __init__(
        self,
        *,
        student_channels: int,
        teacher_channels: int,
        mask_ratio: float,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.student_channels = student_channels
        self.teacher_channels = teacher_channels
        self.mask_ratio = mask_ratio
        self.generator = generator
        self.align: nn.Module = nn.Identity()
        if student_channels != teacher_channels:
            self.align = nn.Conv2d(student_channels, teacher_channels, kernel_size=1)
        self.projector = nn.ModuleList(
            nn.Conv2d(teacher_channels, teacher_channels, kernel_size=3, padding=1) for _ in range(2)
        )

    def rebuild(self, student: Tensor, kept: Tensor, valid: Tensor) -> Tensor:
        """Return the prediction of the teacher's features, shape (N, teacher_channels, H, W).

        Args:
            student: Features, shape (N, student_channels, H, W).
            kept: Boolean (N, H, W), True at the positions that are not masked.
            valid: Boolean (N, H, W). The convolutions see zeros at the other positions.
        """
        first, second = self.projector
        visible = zero_void(call_in_dtype(self.align, student), kept & valid)
        hidden = zero_void(call_in_dtype(first, visible).relu(), valid)
        rebuilt: Tensor = call_in_dtype(second, hidden)
        return rebuilt

    def draw_kept(self, like: Tensor) -> Tensor:
        """Draw the positions of ``like`` (N, C, H, W) that are not masked, boolean (N, H, W)."""
        size = like[:, 0].shape
        return random_on(torch.rand, *size, generator=self.generator, device=like.device) >= self.mask_ratio


def squared_error(rebuilt: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Return each image's sum of squared differences over channels and valid positions, shape (N,)."""
    return zero_void(rebuilt - teacher, valid).square().sum(dim=(1, 2, 3))
