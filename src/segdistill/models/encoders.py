"""Encoders that no library builds in the form that the papers use."""

import segmentation_models_pytorch as smp
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from segdistill.models.library import check_encoder


class MobileNetV2(nn.Module):
    """torchvision's MobileNetV2 without its last 1x1 convolution, dilated to an output stride; 320 channels.

    smp's encoder of this name keeps that convolution (1280 channels). The key names of timm's encoder differ from
    those of torchvision's weights files.
    """

    out_channels = (3, 16, 24, 32, 96, 320)

    def __init__(self, output_stride: int) -> None:
        super().__init__()
        self.features = mobilenet_v2(weights=None).features[:-1]
        for stride, blocks in ((16, self.features[7:14]), (32, self.features[14:])):
            if stride > output_stride:
                _replace_stride(blocks, stride // output_stride)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the images and five maps, at strides 2, 4, 8, 16 and 32, none coarser than the output stride."""
        maps, x = [images], images
        for index, block in enumerate(self.features):
            x = block(x)
            if index in (1, 3, 6, 13, 17):
                maps.append(x)
        return maps


def _replace_stride(blocks: nn.Module, dilation: int) -> None:
    """Replace the stride of 2 of a stage by a dilation, so that pretrained filters see the pixels they were trained on.

    The convolution that had the stride still reads the map before it, so it takes half of the dilation.
    """
    for module in blocks.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            rate = dilation // 2 if module.stride == (2, 2) else dilation
            module.stride, module.dilation, module.padding = (1, 1), (rate, rate), (rate, rate)


def build_encoder(name: str, output_stride: int) -> nn.Module:
    """Return an encoder without weights.

    Args:
        name: ``"mobilenet_v2"`` gives :class:`MobileNetV2`. ``"resnet18s"`` gives ResNet-18 with the stem of CIRKD's
            networks: three 3x3 convolutions (64, 64, 128 channels). Other ResNets are timm's, which have the key names
            of torchvision. Any other name is an encoder of smp.
        output_stride: 8, 16 or 32.
    """
    if name == "mobilenet_v2":
        return MobileNetV2(output_stride)
    options: dict[str, object] = {}
    if name == "resnet18s":
        name, options = "resnet18", {"stem_type": "deep", "stem_width": 64}
    if name.startswith("resnet"):
        # smp's ResNets would also dilate the convolution that had the stride, which pretrained filters do not fit.
        name = f"tu-{name}"
    check_encoder(name)
    encoder: nn.Module = smp.encoders.get_encoder(name, weights=None, output_stride=output_stride, **options)
    return encoder
