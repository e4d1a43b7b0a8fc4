"""A small diffusion model of feature maps: what noise it knows, what predicts the noise, how that is taken out."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

STEPS = 1000
# The share of the features' variance that is left after each step: the variance of the noise added grows linearly.
LEFT: list[float] = (1 - torch.linspace(1e-4, 0.02, STEPS, dtype=torch.float64)).cumprod(0).tolist()


def denoised(maps: Tensor, predict: Callable[[Tensor, Tensor], Tensor], steps: int) -> Tensor:
    """Take noise out of ``maps`` by DDIM without randomness, in equal ``steps`` over the second half of the diffusion.

    Args:
        maps: Shape (N, C, H, W).
        predict: Takes maps and the step of the diffusion they are at, shape (1,); returns the noise in them.
        steps: For 5, the maps go through 400, 300, 200, 100 and 0 of the 1000.
    """
    stride = STEPS // (2 * steps)
    for step in range((steps - 1) * stride, -1, -stride):
        noise = predict(maps, torch.full((1,), step, device=maps.device))
        left, left_after = LEFT[step], LEFT[step - stride] if step else 1.0
        clean = (maps - (1 - left) ** 0.5 * noise) / left**0.5
        maps = left_after**0.5 * clean + (1 - left_after) ** 0.5 * noise
    return maps


class Denoiser(nn.Module):
    """Predicts the noise in maps, told the step of the diffusion that they are at."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.at_step = nn.Embedding(STEPS, channels)
        self.layers = nn.Sequential(
            Bottleneck(channels, reduction=4),
            Bottleneck(channels, reduction=4),
            nn.Conv2d(channels, channels, 1, bias=False),
            batch_norm(channels),
        )

    def forward(self, maps: Tensor, step: Tensor) -> Tensor:
        noise: Tensor = self.layers(maps + self.at_step(step)[:, :, None, None])
        return noise


class Bottleneck(nn.Module):
    """Two 1x1 convolutions, between them a narrow 3x3 one; adds its input."""

    def __init__(self, channels: int, *, reduction: int) -> None:
        super().__init__()
        narrow = max(1, channels // reduction)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, narrow, 1, bias=False),
            batch_norm(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, narrow, 3, padding=1, bias=False),
            batch_norm(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, channels, 1, bias=False),
            batch_norm(channels),
        )

    def forward(self, maps: Tensor) -> Tensor:
        added: Tensor = self.layers(maps)
        return maps + added


def batch_norm(channels: int) -> nn.Module:
    # By the batch in eval mode too: the same denoiser sees noisy teachers and students, no average of which is of use.
    return nn.BatchNorm2d(channels, track_running_stats=False)
