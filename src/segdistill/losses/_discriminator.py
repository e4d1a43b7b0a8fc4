"""Discriminator of SKD's holistic term, after SAGAN: a map of logits in, scores out."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from segdistill.losses._ops import zero_void

# A shorter side, halved four times, is too small for the last 4x4 convolution.
_SHORTEST_SIDE = 64


class Discriminator(nn.Module):
    """Network that scores maps of logits, at stride 16.

    Args:
        num_classes: Number of channels of the maps.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.normalisation = _Normalisation(num_classes)
        self.layers = nn.Sequential(
            *_halving(num_classes, 64),
            *_halving(64, 128),
            *_halving(128, 256),
            _SelfAttention(256),
            *_halving(256, 512),
            _SelfAttention(512),
            nn.Conv2d(512, 1, kernel_size=4),
        )

    def forward(self, maps: Tensor, valid: Tensor) -> Tensor:
        """Return the scores, shape (N, positions). A high score means the teacher.

        Args:
            maps: Shape (N, num_classes, H, W). Maps with a side below 64 are enlarged.
            valid: Boolean (N, H, W). Void positions are zero after the normalization.
        """
        maps = self.normalisation(maps.to(self.normalisation.scale.dtype), valid)
        height, width = maps.shape[2:]
        shorter = min(height, width)
        if shorter < _SHORTEST_SIDE:
            # The longer side is rounded down; the shorter side is exactly 64.
            size = (height * _SHORTEST_SIDE // shorter, width * _SHORTEST_SIDE // shorter)
            maps = F.interpolate(maps, size, mode="bilinear", align_corners=False)
        scores: Tensor = self.layers(maps)
        return scores.flatten(1)


def _halving(channels: int, out: int) -> tuple[nn.Module, nn.Module]:
    """Return a convolution with spectral norm 1 that halves the sides, and its activation."""
    return spectral_norm(nn.Conv2d(channels, out, kernel_size=4, stride=2, padding=1)), nn.LeakyReLU(0.1)


class _Normalisation(nn.Module):
    """Batch normalization over the valid positions of the batch, in eval mode too. Void positions become zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, maps: Tensor, valid: Tensor) -> Tensor:
        count = valid.sum().clamp(min=1)
        mean = zero_void(maps, valid).sum(dim=(0, 2, 3), keepdim=True) / count
        centered = zero_void(maps - mean, valid)
        variance = centered.square().sum(dim=(0, 2, 3), keepdim=True) / count
        return zero_void(centered / (variance + 1e-5).sqrt() * self.scale + self.shift, valid)


class _SelfAttention(nn.Module):
    """Self-attention over positions, added to the input with a learned weight that starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, kernel_size=1)
        self.key = nn.Conv2d(channels, channels // 8, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Tensor) -> Tensor:
        query, key, value = (layer(maps).flatten(2) for layer in (self.query, self.key, self.value))
        attention = torch.softmax(query.mT @ key, dim=2)  # (N, positions, positions), rows sum to 1
        gathered: Tensor = value @ attention.mT
        return maps + self.share * gathered.view_as(maps)
