"""The papers' convolutional networks, with the numbers of parameters that the papers state, auxiliary head included."""

from collections.abc import Callable
from functools import partial

from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3Decoder
from torch import nn
from torchvision.models.segmentation.fcn import FCNHead

from segdistill.models.decoders import DeepLabV3PlusDecoder, PyramidPooling
from segdistill.models.encoders import build_encoder
from segdistill.models.segmenter import Segmenter


def deeplabv3(
    num_classes: int, *, encoder: str, channels: int, output_stride: int = 8, has_aux: bool = True
) -> Segmenter:
    """Return DeepLabV3 as in CIRKD (2022) and GSKD, with an auxiliary head on the third stage if ``has_aux``.

    Chen et al., 2017, https://arxiv.org/abs/1706.05587.
    """
    body = build_encoder(encoder, output_stride)
    inputs = _channels(body)
    decoder = DeepLabV3Decoder(inputs[-1], channels, _rates(output_stride), aspp_separable=False, aspp_dropout=0.5)
    aux = FCNHead(inputs[-2], num_classes) if has_aux else None
    return Segmenter(body, decoder, _classifier(channels, num_classes), dropout=0.1, aux_head=aux)


def pspnet(num_classes: int, *, encoder: str, channels: int, output_stride: int = 8) -> Segmenter:
    """Return PSPNet as in CIRKD (2022) and GSKD, with the auxiliary head.

    Zhao et al., 2017, https://arxiv.org/abs/1612.01105.
    """
    body = build_encoder(encoder, output_stride)
    inputs = _channels(body)
    decoder, aux = PyramidPooling(inputs[-1], channels), FCNHead(inputs[-2], num_classes)
    return Segmenter(body, decoder, _classifier(channels, num_classes), dropout=0.1, aux_head=aux)


def deeplabv3plus(num_classes: int, *, encoder: str, channels: int = 256, output_stride: int = 16) -> Segmenter:
    """Return DeepLabV3+ as in AICSD, with logits at stride 4.

    Chen et al., 2018, https://arxiv.org/abs/1802.02611. AICSD does not state the encoder's stride; the default of 16
    is the stride that the original paper trains with.
    """
    body = build_encoder(encoder, output_stride)
    inputs = _channels(body)
    decoder = DeepLabV3PlusDecoder(inputs[-1], inputs[2], channels, _rates(output_stride))
    return Segmenter(body, decoder, _classifier(channels, num_classes), dropout=0.1)


def _channels(encoder: nn.Module) -> list[int]:
    return list(encoder.out_channels)  # type: ignore[arg-type]


def _rates(output_stride: int) -> tuple[int, int, int]:
    """Return the dilations of the three 3x3 branches: 12, 24, 36 at stride 8; 6, 12, 18 at stride 16."""
    first = 96 // output_stride
    return first, 2 * first, 3 * first


def _classifier(channels: int, num_classes: int) -> nn.Sequential:
    # A sequence of one layer, because smp's key is segmentation_head.0.
    return nn.Sequential(nn.Conv2d(channels, num_classes, 1))


#: Builders of the networks; ``encoder`` and ``output_stride`` may be overridden. The ResNets have the plain stem, so
#: that torchvision's weights fit. The ResNet-18 networks of CIRKD keep its deep stem, because with the plain one more
#: than 1 % of the stated parameters would be missing (13.46 M of 13.6 M); ``encoder="resnet18"`` gives the plain one.
NETWORKS: dict[str, Callable[..., Segmenter]] = {
    "deeplabv3_resnet101": partial(deeplabv3, encoder="resnet101", channels=256),
    "deeplabv3_resnet18": partial(deeplabv3, encoder="resnet18s", channels=128),
    "deeplabv3_mobilenetv2": partial(deeplabv3, encoder="mobilenet_v2", channels=128, has_aux=False),
    "pspnet_resnet18": partial(pspnet, encoder="resnet18s", channels=128),
    "deeplabv3plus_resnet101": partial(deeplabv3plus, encoder="resnet101"),
    "deeplabv3plus_resnet18": partial(deeplabv3plus, encoder="resnet18"),
    "deeplabv3plus_mobilenetv2": partial(deeplabv3plus, encoder="mobilenet_v2"),
}
