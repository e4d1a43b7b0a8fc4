"""Batch normalization of the layers inside losses, which also accepts a single value per channel."""

import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalization of rows (M, C) or maps (N, C, H, W).

    One value per channel, or none, has no variance: PyTorch raises an error in training mode. Here the running
    statistics normalize it, and do not change; without running statistics, the mean is taken as 0 and the variance as
    1. Such maps occur: the last crop of a small image at a large stride, or a batch with one valid position.

    On several GPUs ``nn.SyncBatchNorm`` replaces the layer, as it does PyTorch's. It must therefore be called in every
    process, even without rows.
    """

    can_be_converted = True

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized tensor, of the same shape."""
        if input.numel() > input.shape[1]:
            return super().forward(input)
        mean, variance = self.running_mean, self.running_var
        if mean is None or variance is None:
            mean, variance = input.new_zeros(self.num_features), input.new_ones(self.num_features)
        return F.batch_norm(input, mean, variance, self.weight, self.bias, eps=self.eps)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of dimensions: the losses check their inputs."""
