"""Built-in recipes, as functions that return them. The papers' recipes are in :mod:`segdistill.recipes.experiments`."""

from collections.abc import Callable

from segdistill.recipes.experiments import EXPERIMENTS
from segdistill.recipes.experiments.protocols import Draft

# CWD at temperature 1, with ten times the published weight on the logits and three times that on the features. In CWD
# every class counts the same, however few pixels it has; cross-entropy does not learn the rare classes within minutes.
# KD adds which classes are absent from an image. CWD cannot, because it normalizes each channel over the positions.
_SHARP_CWD: Draft = {
    "kd": {"loss": "kd", "on": "logits", "weight": 3.0},
    "cwd_logits": {"loss": "cwd", "on": "logits", "weight": 30.0, "temperature": 1.0},
    "cwd_features": {"loss": "cwd", "on": "head", "weight": 150.0, "temperature": 1.0},
}


def quickstart() -> Draft:
    """Generated street scenes: teacher, student alone, student with sharp CWD; minutes on two cores."""
    return {
        "data": {"name": "scenes", "crop": [96, 160], "scales": [0.8, 1.2], "cache": True},
        "student": {"model": "deeplabv3plus/tu-test_resnet", "options": {"decoder_channels": 64}},
        "teacher": {
            "model": "deeplabv3plus/tu-resnet10t",
            "train": {"iterations": 900, "validate_every": 300},
            "min_miou": 0.3,
        },
        "method": "sharp_cwd",
        "methods": {"sharp_cwd": _SHARP_CWD},
        "train": {
            "iterations": 400,
            "batch_size": 4,
            "optimizer": "adamw",
            "learning_rate": 0.003,
            "validate_every": 100,
            "log_every": 20,
        },
        "baseline": True,
    }


def camvid() -> Draft:
    """CamVid at half resolution, for a CPU: MobileNetV2 teacher, student a sixth of its size."""
    return {
        "data": {"name": "camvid", "crop": [160, 192], "scale": 0.5, "cache": True},
        "student": {
            "model": "deeplabv3/tu-mobilenetv2_035",
            "options": {"encoder_output_stride": 8, "decoder_channels": 64},
        },
        "teacher": {"model": "deeplabv3_mobilenetv2", "min_miou": 0.3},
        "method": "gskd",
        "train": {"iterations": 1000, "batch_size": 8, "learning_rate": 0.05, "validate_every": 250},
        "baseline": True,
    }


def folder() -> Draft:
    """Your images and masks in data.root=FOLDER. Its method, dist, scored above gskd and kd on CamVid."""
    return {
        "data": {"name": "folder", "crop": [256, 256]},
        "student": {
            "model": "deeplabv3/tu-mobilenetv2_035",
            "options": {"encoder_output_stride": 8, "decoder_channels": 64},
        },
        "teacher": {"model": "deeplabv3_mobilenetv2", "train": {}, "min_miou": 0.2},
        "method": "dist",  # it also reads the logits alone, which all networks have; docs/results.md has the comparison
        "train": {"iterations": 2000, "batch_size": 8, "learning_rate": 0.02},
        "baseline": True,
    }


BUILTIN: dict[str, Callable[[], Draft]] = {
    recipe.__name__: recipe for recipe in (quickstart, camvid, folder, *EXPERIMENTS)
}
