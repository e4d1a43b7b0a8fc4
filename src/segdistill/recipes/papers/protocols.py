"""How the papers train, where several experiments share it."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from segdistill.recipes.methods import Terms

Draft = dict[str, Any]

CITYSCAPES, CAMVID, VOC, ADE20K = (512, 1024), (360, 360), (512, 512), (512, 512)


def cirkd(
    data: str,
    crop: Sequence[int],
    student: str,
    *,
    method: str,
    methods: Mapping[str, Terms] | None = None,
) -> Draft:
    """Return a recipe with the protocol of the CIRKD code base (2022), which GSKD and I2CKD adopt.

    SGD with momentum 0.9, learning rate 0.02 falling to 0 by a power of 0.9, weight decay 1e-4 on everything, 40 000
    steps of 16 crops, random scale 0.5 to 2 and mirroring, batch norm over all devices, validation every 800 steps;
    DeepLabV3 on ResNet-101 as the teacher, trained in the same way. Both start from ImageNet backbones
    (``student.weights``, ``teacher.weights``).
    """
    return {
        "data": {"name": data, "crop": list(crop), "workers": 4},
        "student": {"model": student},
        # The teacher keeps to the protocol where a row changes how its student is trained (DIST's do).
        "teacher": {
            "model": "deeplabv3_resnet101",
            "train": {"weight_decay": 1e-4, "floor": 0.0},
            "min_miou": 0.1,
        },
        "method": method,
        "methods": dict(methods or {}),
        "train": {"iterations": 40_000, "batch_size": 16, "learning_rate": 0.02, "validate_every": 800},
    }


def epochs(count: float, *, images: int, batch_size: int) -> int:
    """Return the optimiser steps of so many passes over the training images."""
    return ceil(count * images / batch_size)
