"""Intra- and Inter-Class Knowledge Distillation (Karine et al., 2024, arXiv 2403.18490): tables 1 to 4.

The settings come from the CIRKD code base. No code is public, and the paper states no margin, layer or projector;
see :func:`segdistill.losses.i2ckd` for the assumptions.
"""

from segdistill.recipes.experiments.protocols import Draft, cirkd


def i2ckd_cityscapes_deeplabv3_r18() -> Draft:
    """Cityscapes, DeepLabV3: ResNet-101 to ResNet-18; the paper's ablation too."""
    return cirkd("cityscapes", "deeplabv3_resnet18", method="i2ckd")


def i2ckd_cityscapes_pspnet_r18() -> Draft:
    """Cityscapes: DeepLabV3 on ResNet-101 to PSPNet on ResNet-18."""
    return cirkd("cityscapes", "pspnet_resnet18", method="i2ckd")


def i2ckd_voc_deeplabv3_r18() -> Draft:
    """Pascal VOC (augmented), DeepLabV3: ResNet-101 to ResNet-18."""
    return cirkd("voc", "deeplabv3_resnet18", method="i2ckd")


def i2ckd_voc_pspnet_r18() -> Draft:
    """Pascal VOC (augmented): DeepLabV3 on ResNet-101 to PSPNet on ResNet-18."""
    return cirkd("voc", "pspnet_resnet18", method="i2ckd")


def i2ckd_camvid_deeplabv3_r18() -> Draft:
    """CamVid, DeepLabV3: ResNet-101 to ResNet-18."""
    return cirkd("camvid", "deeplabv3_resnet18", method="i2ckd")


def i2ckd_camvid_pspnet_r18() -> Draft:
    """CamVid: DeepLabV3 on ResNet-101 to PSPNet on ResNet-18."""
    return cirkd("camvid", "pspnet_resnet18", method="i2ckd")


EXPERIMENTS = (
    i2ckd_cityscapes_deeplabv3_r18,
    i2ckd_cityscapes_pspnet_r18,
    i2ckd_voc_deeplabv3_r18,
    i2ckd_voc_pspnet_r18,
    i2ckd_camvid_deeplabv3_r18,
    i2ckd_camvid_pspnet_r18,
)
