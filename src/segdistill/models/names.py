"""Names of networks that :func:`segdistill.models.build` takes. This module does not import PyTorch."""

import re
from typing import NamedTuple

from segdistill.errors import UserError, unknown


class Paper(NamedTuple):
    """One of the papers' networks: a one-line description, and the license of its published weights."""

    description: str
    license: str


_TORCHVISION = "torchvision's ImageNet weights: BSD-3-Clause; ImageNet's own terms allow research"
_NVIDIA = "NVIDIA's SegFormer weights: non-commercial; the code is transformers' (Apache-2.0)"

PAPERS = {
    "deeplabv3_resnet101": Paper("DeepLabV3, ResNet-101, stride 8: teacher of CIRKD, GSKD", _TORCHVISION),
    "deeplabv3_resnet18": Paper("DeepLabV3, ResNet-18 (deep stem), stride 8: student of CIRKD, GSKD", _TORCHVISION),
    "deeplabv3_mobilenetv2": Paper("DeepLabV3, MobileNetV2, stride 8: student of CIRKD, GSKD", _TORCHVISION),
    "pspnet_resnet18": Paper("PSPNet, ResNet-18 (deep stem), stride 8: student of CIRKD, GSKD", _TORCHVISION),
    "deeplabv3plus_resnet101": Paper("DeepLabV3+, ResNet-101, stride 4: teacher of AICSD", _TORCHVISION),
    "deeplabv3plus_resnet18": Paper("DeepLabV3+, ResNet-18, stride 4: student of AICSD", _TORCHVISION),
    "deeplabv3plus_mobilenetv2": Paper("DeepLabV3+, MobileNetV2, stride 4: student of AICSD", _TORCHVISION),
    "segformer_b4": Paper("SegFormer-B4, stride 4: teacher of CIRKD, GSKD", _NVIDIA),
    "segformer_b0": Paper("SegFormer-B0, stride 4: student of CIRKD, GSKD", _NVIDIA),
    "resnet34": Paper("ResNet-34, image classification: teacher of DIST, GSKD on ImageNet", _TORCHVISION),
    "resnet18": Paper("ResNet-18, image classification: student of DIST, GSKD on ImageNet", _TORCHVISION),
}

#: Architectures of segmentation_models_pytorch and ``linear``, the first half of "arch/encoder".
ARCHITECTURES = (
    "deeplabv3", "deeplabv3plus", "dpt", "fpn", "linear", "linknet", "manet",
    "pan", "pspnet", "segformer", "unet", "unetplusplus", "upernet",
)  # fmt: skip

#: Segmentation networks of torchvision, the second half of "torchvision/name".
TORCHVISION = (
    "deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50", "deeplabv3_resnet101", "fcn_resnet50", "fcn_resnet101",
    "lraspp_mobilenet_v3_large",
)  # fmt: skip

_IMPORT_PATH = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")


def names() -> dict[str, str]:
    """Return the papers' networks, as a mapping of names to one-line descriptions."""
    return {name: paper.description for name, paper in PAPERS.items()}


def is_import_path(name: str) -> bool:
    """Return True if ``name`` has the form ``package.module:callable``."""
    return _IMPORT_PATH.match(name) is not None


def check_name(name: str) -> None:
    """Raise unless ``name`` is a network of the papers or torchvision, ``"arch/encoder"`` or ``"module:callable"``.

    For the last two only the form and the architecture are checked; :func:`segdistill.models.build` checks the encoder.

    Raises:
        UserError: Any other name; the message suggests the nearest.
    """
    if name in PAPERS or is_import_path(name):
        return
    architecture, slash, encoder = name.partition("/")
    if not slash or ":" in name:
        hint = "(or 'arch/encoder' as in 'unet/resnet18', or 'package.module:callable')"
        raise unknown("model", name, PAPERS, hint=hint)
    if architecture == "torchvision":
        if encoder not in TORCHVISION:
            raise unknown("network of torchvision", encoder, TORCHVISION)
        return
    if architecture not in ARCHITECTURES:
        raise unknown("architecture", architecture, [*ARCHITECTURES, "torchvision"])
    if not encoder:
        raise UserError(f"model '{name}' names no encoder; write for instance '{architecture}/resnet18'")


def license(name: str) -> str:
    """Return what is known about the license of a network's published weights or code; empty if nothing is known."""
    if name in PAPERS:
        return PAPERS[name].license
    if "/mit_b" in name:
        return "smp's mit_b encoders: NVIDIA's code and weights, non-commercial; segformer_b0 is free code"
    return ""
