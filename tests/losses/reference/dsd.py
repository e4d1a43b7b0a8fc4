"""CIRKD's version of DSD, the only one released."""

import torch
from torch import Tensor

from tests.losses.reference.case import Case
from tests.losses.reference.inputs import Draw, Tensors, normal
from tests.losses.reference.release import Release
from tests.losses.reference.repositories import CIRKD

HEADS = ("aux_logits", "features", "logits")
MAPS = ("features_1", "features_2", "logits")


def maps(names: tuple[str, ...], student: tuple[int, ...], teacher: tuple[int, ...]) -> dict[str, Draw]:
    """Three maps of these widths of each side."""
    sides = (("student", student), ("teacher", teacher))
    return {
        f"{side}_{name}": normal(2, width, 8, 12)
        for side, widths in sides
        for name, width in zip(names, widths, strict=True)
    }


def lists(x: Tensors, names: tuple[str, ...]) -> tuple[list[Tensor], list[Tensor]]:
    return [x[f"student_{name}"] for name in names], [x[f"teacher_{name}"] for name in names]


def both_terms(release: Release, x: Tensors) -> Tensors:
    pixel, category = release("losses/dsd.py").CriterionDoubleSimKD()(*lists(x, MAPS))
    return {"loss": pixel + category, "loss_psd": pixel, "loss_csd": category}


CASES = [
    Case(
        "dsd_psd_case1",
        CIRKD,
        maps(HEADS, (5, 16, 5), (5, 24, 5)),
        lambda release, x: release("losses/dsd.py").CriterionPSD()(*lists(x, HEADS)),
        torch.float32,
    ),
    Case("dsd_cirkd_case0", CIRKD, maps(MAPS, (16, 8, 5), (24, 12, 5)), both_terms),
]
