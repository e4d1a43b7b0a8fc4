"""Decoders that no library builds in the form that the papers use."""

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.deeplabv3.decoder import ASPP
from torch import Tensor, nn


def _conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class PyramidPooling(nn.Module):
    """PSPNet's decoder (Zhao et al., 2017, section 3.2) with the 3x3 convolution of CIRKD's released code.

    The last map is pooled to 1x1, 2x2, 3x3 and 6x6. Each pooled map is reduced to a quarter of the channels, and all
    are concatenated with the last map. smp's decoder differs: it has a 1x1 convolution after that, and no batch norm
    after the 1x1 pool.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.pools = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), _conv(in_channels, in_channels // 4, 1)) for size in (1, 2, 3, 6)
        )
        self.conv = _conv(2 * in_channels, channels, 3)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return a map of shape (N, channels, h, w), with the size of the last of ``features``."""
        x = features[-1]
        pooled = [F.interpolate(pool(x), size=x.shape[-2:], mode="bilinear", align_corners=True) for pool in self.pools]
        fused: Tensor = self.conv(torch.cat([x, *pooled], dim=1))
        return fused


class DeepLabV3PlusDecoder(nn.Module):
    """DeepLabV3+'s decoder (Chen et al., 2018, section 3.1) with full 3x3 convolutions.

    AICSD's parameter counts include full convolutions. Its released code has dropout of 0.5 between the two, as here.
    That code resizes the coarse map with aligned corners; here the corners are not aligned. smp's decoder differs: its
    convolutions are separable, and it fuses the maps with one instead of two.
    """

    def __init__(self, in_channels: int, fine_channels: int, channels: int, rates: tuple[int, int, int]) -> None:
        super().__init__()
        self.aspp = ASPP(in_channels, channels, rates, separable=False, dropout=0.5)
        self.fine = _conv(fine_channels, 48, 1)
        self.fuse = nn.Sequential(_conv(channels + 48, channels, 3), _conv(channels, channels, 3))
        self.dropout = nn.Dropout(0.5)  # not in the sequence, whose indices are keys of the weights

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return a map of shape (N, channels, H / 4, W / 4)."""
        fine = self.fine(features[2])
        coarse = F.interpolate(self.aspp(features[-1]), size=fine.shape[-2:], mode="bilinear", align_corners=False)
        first, second = self.fuse
        fused: Tensor = second(self.dropout(first(torch.cat([coarse, fine], dim=1))))
        return fused
