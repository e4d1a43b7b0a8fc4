"""A small diffusion model of feature maps: the noise schedule, the network that predicts noise, the denoising."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from segdistill.losses._batch_norm import BatchNorm

STEPS = 1000
# Share of the features' variance that is left after each step. The variance of the added noise grows linearly.
LEFT: list[float] = (1 - torch.linspace(1e-4, 0.02, STEPS, dtype=torch.float64)).cumprod(0).tolist()


def denoised(maps: Tensor, predict: Callable[[Tensor, Tensor], Tensor], steps: int) -> Tensor:
    """Remove the noise from ``maps`` by deterministic DDIM, in equal ``steps`` over the cleaner half of the diffusion.

    Args:
        maps: Shape (N, C, H, W).
        predict: Takes maps and their diffusion step, shape (1,), and returns the noise in the maps.
        steps: Number of steps. With 5, the diffusion steps are 400, 300, 200, 100 and 0 of 1000.
    """
    stride = STEPS // (2 * steps)
    for step in range((steps - 1) * stride, -1, -stride):
        noise = predict(maps, torch.full((1,), step, device=maps.device))
        left, left_after = LEFT[step], LEFT[step - stride] if step else 1.0
        clean = (maps - (1 - left) ** 0.5 * noise) / left**0.5
        maps = left_after**0.5 * clean + (1 - left_after) ** 0.5 * noise
    return maps


class Denoiser(nn.Module):
    """Network that predicts the noise in maps, given their diffusion step."""

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
    """Residual block: a 1x1 convolution, a narrow 3x3 convolution and a 1x1 convolution, added to the input."""

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
    # Uses the batch's statistics in eval mode too. The denoiser sees noisy teachers and students: no average fits both.
    return BatchNorm(channels, track_running_stats=False)
