"""Adaptive Inter-Class Similarity Distillation (Mansourian et al., 2023, arXiv 2308.04243): tables II to V.

DeepLabV3+. Epochs are converted to steps, and the adaptive loss weighting changes at every step. Settings that the
paper does not state are from its released code: momentum 0.9, weight decay 5e-4, validation after every epoch. These
parts of the released code are not adopted: a ten times higher learning rate for the heads, cross-entropy divided by the
batch size, a first epoch that trains nothing, a teacher whose batch norm statistics are updated during distillation,
and a poly schedule, for which the paper states cosine.
"""

from segdistill.catalogue.methods import Terms, adaptive
from segdistill.recipes.experiments.protocols import Draft, epochs

_VOC_IMAGES, _CITYSCAPES_IMAGES = 10_582, 2_975

# The named methods are for Pascal VOC; Cityscapes has 19 classes.
_CITYSCAPES: dict[str, Terms] = {
    "aicsd": {"kd": adaptive("linear", classes=19)["kd"]},
    "aicsd_exponential": {"kd": adaptive("exponential", classes=19)["kd"]},
}


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
    recipe = _protocol("voc", student, images=_VOC_IMAGES, count=120, batch_size=6, learning_rate=0.007)
    recipe["data"]["crop"] = [513, 513]
    return {**recipe, "method": method}


def _cityscapes(student: str) -> Draft:
    recipe = _protocol("cityscapes", student, images=_CITYSCAPES_IMAGES, count=50, batch_size=4, learning_rate=0.01)
    recipe["data"]["crop"] = [512, 1024]
    return {**recipe, "method": "aicsd", "methods": _CITYSCAPES}


def _protocol(data: str, student: str, *, images: int, count: int, batch_size: int, learning_rate: float) -> Draft:
    return {
        "data": {"name": data, "workers": 4},
        "student": {"model": student},
        "teacher": {"model": "deeplabv3plus_resnet101", "train": {}, "min_miou": 0.1},
        "train": {
            "iterations": epochs(count, images=images, batch_size=batch_size),
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "weight_decay": 5e-4,
            "schedule": "cosine",
            "validate_every": epochs(1, images=images, batch_size=batch_size),
        },
    }


EXPERIMENTS = (aicsd_voc_r18, aicsd_voc_mobilenetv2, aicsd_cityscapes_r18, aicsd_cityscapes_mobilenetv2)
