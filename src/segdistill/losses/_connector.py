"""Connector from the student's features to the teacher's, trained with the student by the value of the loss."""

from torch import Tensor, nn

from segdistill.losses._batch_norm import BatchNorm


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
        self.norm = BatchNorm(teacher_channels)
        nn.init.kaiming_normal_(self.linear.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, rows: Tensor) -> Tensor:
        """Return shape (rows, teacher_channels) for ``rows`` of shape (rows, student_channels)."""
        normalized: Tensor = self.norm(self.linear(rows))
        return normalized
