"""The connector from a student's features to its teacher's, which learns from a loss's value as the student does."""

import torch.nn.functional as F
from torch import Tensor, nn


class Connector(nn.Module):
    """A 1x1 convolution without bias and batch normalisation, of vectors instead of maps.

    Given the valid positions of a map as rows, it lets void ones into neither the result nor the statistics.

    Args:
        student_channels: Channels in.
        teacher_channels: Channels out.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(student_channels, teacher_channels, bias=False)
        self.norm = nn.BatchNorm1d(teacher_channels)
        nn.init.kaiming_normal_(self.linear.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, rows: Tensor) -> Tensor:
        """Return shape (rows, teacher_channels) for ``rows`` of shape (rows, student_channels)."""
        rows = self.linear(rows)
        if len(rows) > 1:
            normalised: Tensor = self.norm(rows)
            return normalised
        # One vector or none has no variance: the statistics so far.
        norm = self.norm
        return F.batch_norm(rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
