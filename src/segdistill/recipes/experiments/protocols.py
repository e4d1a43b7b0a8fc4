"""Training protocols shared by several papers."""

from collections.abc import Mapping
from math import ceil
from typing import Any

from segdistill.catalogue.methods import Terms

Draft = dict[str, Any]

_CROPS = {"cityscapes": (512, 1024), "camvid": (360, 360), "voc": (512, 512), "ade20k": (512, 512)}

# CIRKD's code divides CWD's sum over the teacher's 256 channels by the student's 128, so its 50 is 100 for the mean
# over channels.
_CWD: dict[str, Terms] = {name: {"cwd_features": {"weight": 100.0}} for name in ("cwd", "cwd+gskd")}


def cirkd(data: str, student: str, *, method: str, methods: Mapping[str, Terms] | None = None) -> Draft:
    """Return a recipe with the protocol of the CIRKD code base (2022), which GSKD and I2CKD adopt.

    The protocol: SGD with momentum 0.9, learning rate 0.02 with poly decay of power 0.9, weight decay 1e-4 on every
    parameter, 40 000 steps of 16 crops, random scales from 0.5 to 2, horizontal flips, batch norm over all devices,
    validation every 800 steps. The teacher is DeepLabV3 with ResNet-101, trained in the same way. Both networks start
    from ImageNet backbones (``student.weights``, ``teacher.weights``). A class that is absent counts as 0 in a score.
    """
    return {
        "data": {"name": data, "crop": list(_CROPS[data]), "workers": 4},
        "student": {"model": student},
        # The rows of DIST and Af-DCD change the training of the student only, so the teacher's settings are explicit.
        "teacher": {
            "model": "deeplabv3_resnet101",
            "train": {"weight_decay": 1e-4, "floor": 0.0, "clip_modules": None, "validate_every": 800},
            "min_miou": 0.1,
        },
        "method": method,
        "methods": {**_CWD, **(methods or {})},
        "train": {"iterations": 40_000, "batch_size": 16, "learning_rate": 0.02, "validate_every": 800},
        "evaluation": {"absent": "zero"},
    }


def epochs(count: float, *, images: int, batch_size: int) -> int:
    """Return the number of optimizer steps in ``count`` passes over the training images."""
    return ceil(count * images / batch_size)
