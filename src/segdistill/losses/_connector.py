"""Connector from the student's features to the teacher's, trained with the student by the value of the loss."""

import torch
from torch import Tensor, nn

from segdistill.losses._batch_norm import BatchNorm
from segdistill.losses._ops import zero_void
from segdistill.losses._processes import summed_everywhere


class Connector(nn.Module):
    """A 1x1 convolution without bias, followed by batch normalization. Void positions are not in the statistics.

    The statistics of a linear layer's output follow from the mean and the covariance of its input. They are therefore
    computed from the student's features, over the valid positions of all processes, and the normalization becomes part
    of the convolution: neither the output before it nor a selection of positions is held.

    A single valid position has no variance. The running statistics normalize it, and do not change.

    Args:
        student_channels: Number of input channels.
        teacher_channels: Number of output channels.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(student_channels, teacher_channels, bias=False)
        self.norm = BatchNorm(teacher_channels)
        nn.init.kaiming_normal_(self.linear.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: Tensor, valid: Tensor) -> Tensor:
        """Return the connected maps.

        Args:
            maps: Features, shape (N, student_channels, H, W) or (N, student_channels).
            valid: Where positions count, boolean (N, H, W) or (N,).

        Returns:
            Shape (N, teacher_channels, H, W) or (N, teacher_channels). Void positions have some finite value.
        """
        vectors = maps.flatten(2) if maps.dim() == 4 else maps[..., None]  # (N, C, positions)
        mean, variance = self._statistics(vectors, valid.reshape(len(valid), -1))
        scale = self.norm.weight * (variance + self.norm.eps).rsqrt()
        connected = (scale[:, None] * self.linear.weight) @ vectors + (self.norm.bias - scale * mean)[:, None]
        return connected.view(len(maps), -1, *maps.shape[2:])

    def _statistics(self, vectors: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and variance to normalize with, and update the running ones in training mode."""
        past_mean, past_variance = self.norm.running_mean, self.norm.running_var
        assert past_mean is not None
        assert past_variance is not None
        if not self.training:
            return past_mean, past_variance
        weight = self.linear.weight
        count = summed_everywhere(valid.sum().to(vectors.dtype))
        center = summed_everywhere(zero_void(vectors, valid).sum(dim=(0, 2))) / count.clamp(min=1)
        centered = zero_void(vectors - center[:, None], valid)
        covariance = summed_everywhere((centered @ centered.mT).sum(dim=0)) / count.clamp(min=1)
        # With few positions and wide features, rounding can make a variance negative.
        mean, variance = weight @ center, ((weight @ covariance) * weight).sum(dim=1).clamp(min=0)
        has_variance = count > 1
        with torch.no_grad():
            momentum = torch.where(has_variance, self.norm.momentum or 0.0, 0.0)
            unbiased = variance * count / (count - 1).clamp(min=1)
            past_mean += (momentum * (mean - past_mean)).to(past_mean.dtype)
            past_variance += (momentum * (unbiased - past_variance)).to(past_variance.dtype)
            if self.norm.num_batches_tracked is not None:
                self.norm.num_batches_tracked += has_variance.long()
        # Copies of the running statistics, because they may change before the backward pass.
        mean = torch.where(has_variance, mean, past_mean.clone())
        return mean, torch.where(has_variance, variance, past_variance.clone())
