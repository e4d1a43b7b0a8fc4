"""Adaptive Inter-Class Similarity Distillation (Mansourian et al., 2023, arXiv 2308.04243): tables II to V.

DeepLabV3+. Epochs are converted to steps, and the adaptive loss weighting changes at every step. Settings that the
paper does not state are from its released code: momentum 0.9, weight decay 5e-4, validation after every epoch.

The released code divides cross-entropy by the batch size B, and nothing else. The recipes multiply the distillation
terms by B instead, which gives the same ratios: 9500 B for ICSD, 10 B / C for KD of C classes. The whole objective is
then B times the released one, for the student alone too. ICSD compares logits upsampled to the crop, as there.
Networks are scored on images and labels resized to a short side of 513 (513x1026 on Cityscapes), as there: the paper
states original inputs, but the published numbers fit the code.

These parts of the released code are not adopted:

* a ten times higher learning rate for the decoder, which ``train.rate_factors={encoder: 0.1}`` and ten times the rate
  give, and a poly schedule, for which the paper states cosine;
* a first epoch that trains nothing, and a teacher whose batch norm statistics are updated during distillation;
* random scales of 0.5 to 2 times a short side of 513, and square crops of 513; the paper states 0.5 to 2 times the
  original size, and crops of 512x1024 on Cityscapes. ``data.short_side=513`` gives the released scales;
* Gaussian blur of half of the crops, which ``data.blur=0.5`` gives;
* a student without the dropout of the ASPP during distillation.

The methods compared with AICSD are single terms. The paper tried them on intermediate layers and on the output, and
states neither the best layer nor a weight. Of the released code, KD (weight 10) and ICKD on the logits (no weight) are
used. AT is a comment there, on the decoder's feature before its last ReLU, and SP is in an older commit, on the ASPP or
a chosen layer. Both are on ``head`` here. AT has CIRKD's weight, SP RepDistiller's and ICKD the weight of its authors.
"""

from typing import Any

from segdistill.catalogue.methods import adaptive
from segdistill.recipes.experiments.protocols import Draft, epochs

_VOC_IMAGES, _CITYSCAPES_IMAGES = 10_582, 2_975


def aicsd_voc_r18() -> Draft:
    """Pascal VOC (augmented), DeepLabV3+: ResNet-101 to ResNet-18."""
    return _voc("deeplabv3plus_resnet18", method="aicsd_exponential")


def aicsd_voc_mobilenetv2() -> Draft:
    """Pascal VOC (augmented), DeepLabV3+: ResNet-101 to MobileNetV2."""
    return _voc("deeplabv3plus_mobilenetv2", method="aicsd")


def aicsd_cityscapes_r18() -> Draft:
    """Cityscapes, DeepLabV3+: ResNet-101 to ResNet-18."""
    return _cityscapes("deeplabv3plus_resnet18")


def aicsd_cityscapes_mobilenetv2() -> Draft:
    """Cityscapes, DeepLabV3+: ResNet-101 to MobileNetV2."""
    return _cityscapes("deeplabv3plus_mobilenetv2")


def _voc(student: str, *, method: str) -> Draft:
    recipe = _protocol(
        "voc",
        student,
        images=_VOC_IMAGES,
        count=120,
        batch_size=6,
        learning_rate=0.007,
        crop=[513, 513],
        classes=21,
    )
    return {**recipe, "method": method}


def _cityscapes(student: str) -> Draft:
    recipe = _protocol(
        "cityscapes",
        student,
        images=_CITYSCAPES_IMAGES,
        count=50,
        batch_size=4,
        learning_rate=0.01,
        crop=[512, 1024],
        classes=19,
    )
    return {**recipe, "method": "aicsd"}


def _protocol(
    data: str,
    student: str,
    *,
    images: int,
    count: int,
    batch_size: int,
    learning_rate: float,
    crop: list[int],
    classes: int,
) -> Draft:
    return {
        "data": {"name": data, "crop": crop, "workers": 4},
        "student": {"model": student},
        "teacher": {"model": "deeplabv3plus_resnet101", "train": {}, "min_miou": 0.1},
        "methods": _methods(count, batch_size=batch_size, crop=crop, classes=classes),
        "train": {
            "iterations": epochs(count, images=images, batch_size=batch_size),
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "weight_decay": 5e-4,
            "schedule": "cosine",
            "validate_every": epochs(1, images=images, batch_size=batch_size),
        },
        "evaluation": {"short_side": 513, "resize_labels": True},
    }


def _methods(count: int, *, batch_size: int, crop: list[int], classes: int) -> dict[str, Any]:
    """Return the methods with the ratios of the released code; ``count`` is the number of epochs."""
    resize = {"resize": crop}
    linear = adaptive("linear", classes=classes, scale=batch_size)
    exponential = adaptive("exponential", classes=classes, scale=batch_size, epochs=count)
    return {
        "kd": {"kd": {"weight": 10 * batch_size / classes}},
        "at": {"kd": None},
        "ickd": {"ickd": {"on": "logits"}},
        "icsd": {"icsd": {"weight": 9500.0 * batch_size, **resize}},
        "aicsd": {**linear, "icsd": {**linear["icsd"], **resize}},
        "aicsd_exponential": {**exponential, "icsd": {**exponential["icsd"], **resize}},
    }


EXPERIMENTS = (aicsd_voc_r18, aicsd_voc_mobilenetv2, aicsd_cityscapes_r18, aicsd_cityscapes_mobilenetv2)
