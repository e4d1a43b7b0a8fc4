"""Connector from the student's features to the teacher's, trained with the student by the value of the loss."""

import torch.nn.functional as F
from torch import Tensor, nn


class Connector(nn.Module):
    """A 1x1 convolution without bias, followed by batch normalization, on vectors instead of maps.

    The input rows are the valid positions of a map, so void positions affect neither the result nor the statistics.

    Args:
        student_channels: Number of input channels.
        teacher_channels: Number of output channels.
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
            normalized: Tensor = self.norm(rows)
            return normalized
        # One row or none has no variance: use the running statistics.
        norm = self.norm
        return F.batch_norm(rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
