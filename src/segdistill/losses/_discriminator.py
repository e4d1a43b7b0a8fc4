"""The discriminator of SKD's holistic term, after SAGAN: a logit map in, scores out."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from segdistill.losses._ops import zero_void

# Four halvings of a shorter side would leave nothing for the last 4x4 convolution.
_SHORTEST_SIDE = 64


class Discriminator(nn.Module):
    """Scores of logit maps, at a stride of 16.

    Args:
        num_classes: Channels of the maps.
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
        """Return the scores, shape (N, positions); high is the teacher's.

        Args:
            maps: Shape (N, num_classes, H, W); enlarged where a side is below 64.
            valid: Boolean (N, H, W); void positions are zero after the normalisation.
        """
        maps = self.normalisation(maps.to(self.normalisation.scale.dtype), valid)
        height, width = maps.shape[2:]
        shorter = min(height, width)
        if shorter < _SHORTEST_SIDE:
            # Rounded down; the shorter side is exact.
            size = (height * _SHORTEST_SIDE // shorter, width * _SHORTEST_SIDE // shorter)
            maps = F.interpolate(maps, size, mode="bilinear", align_corners=False)
        scores: Tensor = self.layers(maps)
        return scores.flatten(1)


def _halving(channels: int, out: int) -> tuple[nn.Module, nn.Module]:
    """A convolution of spectral norm 1 that halves the sides, and its activation."""
    return spectral_norm(nn.Conv2d(channels, out, kernel_size=4, stride=2, padding=1)), nn.LeakyReLU(0.1)


class _Normalisation(nn.Module):
    """Batch normalisation over the valid positions of this batch, in eval mode too; void positions become zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, maps: Tensor, valid: Tensor) -> Tensor:
        count = valid.sum().clamp(min=1)
        mean = zero_void(maps, valid).sum(dim=(0, 2, 3), keepdim=True) / count
        centred = zero_void(maps - mean, valid)
        variance = centred.square().sum(dim=(0, 2, 3), keepdim=True) / count
        return zero_void(centred / (variance + 1e-5).sqrt() * self.scale + self.shift, valid)


class _SelfAttention(nn.Module):
    """Every position plus what it gathers from all of them; the share of that starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, kernel_size=1)
        self.key = nn.Conv2d(channels, channels // 8, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Tensor) -> Tensor:
        query, key, value = (layer(maps).flatten(2) for layer in (self.query, self.key, self.value))
        attention = torch.softmax(query.mT @ key, dim=2)  # (N, positions, positions), rows add up to 1
        gathered: Tensor = value @ attention.mT
        return maps + self.share * gathered.view_as(maps)
