"""The encoders that no library builds as the papers use them."""

import segmentation_models_pytorch as smp
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from segdistill.models.library import check_encoder


class MobileNetV2(nn.Module):
    """torchvision's MobileNetV2 without its last 1x1 convolution (320 channels), dilated to a stride.

    smp's encoder of this name keeps that convolution (1280 channels), and timm's has other key names than the
    weights files of torchvision.
    """

    out_channels = (3, 16, 24, 32, 96, 320)

    def __init__(self, output_stride: int) -> None:
        super().__init__()
        self.features = mobilenet_v2(weights=None).features[:-1]
        for stride, blocks in ((16, self.features[7:14]), (32, self.features[14:])):
            if stride > output_stride:
                _replace_stride(blocks, stride // output_stride)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the images and the maps at stride 2, 4, 8, 16 and 32, the last ones at the output stride."""
        maps, x = [images], images
        for index, block in enumerate(self.features):
            x = block(x)
            if index in (1, 3, 6, 13, 17):
                maps.append(x)
        return maps


def _replace_stride(blocks: nn.Module, dilation: int) -> None:
    """Dilate a stage that began with a stride of 2, so that pretrained filters see the pixels they were made for.

    The convolution that had the stride still reads the map before it, so it takes half of the dilation.
    """
    for module in blocks.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            own = dilation // 2 if module.stride == (2, 2) else dilation
            module.stride, module.dilation, module.padding = (1, 1), (own, own), (own, own)


def build_encoder(name: str, output_stride: int) -> nn.Module:
    """Return an encoder without weights.

    Args:
        name: ``"mobilenet_v2"``: :class:`MobileNetV2`. ``"resnet18s"``: ResNet-18 with the stem of three 3x3
            convolutions (64, 64, 128 channels) that CIRKD's networks have. Other ResNets: timm's, with the key
            names of torchvision. Otherwise an encoder of smp.
        output_stride: 8, 16 or 32.
    """
    if name == "mobilenet_v2":
        return MobileNetV2(output_stride)
    options: dict[str, object] = {}
    if name == "resnet18s":
        name, options = "resnet18", {"stem_type": "deep", "stem_width": 64}
    if name.startswith("resnet"):
        # smp's own would be dilated in the convolution that had the stride, too, which pretrained filters are not.
        name = f"tu-{name}"
    check_encoder(name)
    encoder: nn.Module = smp.encoders.get_encoder(name, weights=None, output_stride=output_stride, **options)
    return encoder
