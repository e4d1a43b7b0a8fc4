"""The networks of the papers' experiments: parameters and multiply-adds beside the printed ones."""

from dataclasses import dataclass

import torch

from segdistill import models
from segdistill.evaluation.cost import count_flops, count_parameters
from segdistill.recipes import ROWS, Row, load

# Classes, and height and width of the images that are scored: whole images of the data set.
SETS = {
    "cityscapes": (19, (1024, 2048)),
    "camvid": (11, (360, 480)),
    "voc": (21, (512, 512)),
    "ade20k": (150, (512, 512)),
    "imagenet": (1000, (224, 224)),
}
# SegFormer's printed operations are those of its own paper, for ADE20K.
SEGFORMER = (150, (512, 512))

EXPLANATION = """\
Parameters: millions; the auxiliary heads counted, as the papers count.
Operations: billions of multiply-adds for one image of the size given, by torch.utils.flop_counter (convolutions and
matrix products). The papers do not say how they counted, nor at which size. On Cityscapes their numbers are 4 to 21 %
above those of whole images; on the other sets they agree neither with a size nor with one another: DeepLabV3 on
ResNet-18 has 503.0 on Pascal VOC and 61.0 on ADE20K, whose crops are equal, and 61.0 on CamVid too. SegFormer-B0's 8.4
is what is counted here; B4's 121.7 is above the 95.7 of its own paper."""


@dataclass(frozen=True)
class NetworkCost:
    """One network in one table.

    Attributes:
        row: What the paper prints.
        model: Its name here.
        classes: The data set's.
        size: Height and width of the image.
        params: Millions.
        multiply_adds: Billions.
    """

    row: Row
    model: str
    classes: int
    size: tuple[int, int]
    params: float
    multiply_adds: float


def network_costs() -> list[NetworkCost]:
    """Count every network whose parameters or operations a paper prints, once for each table."""
    found: dict[tuple[str, str, str], NetworkCost] = {}
    for row in ROWS:
        if row.params is None and row.flops is None:
            continue
        recipe = load(row.experiment, row.changes)
        network = recipe.teacher if row.method == "teacher" else recipe.student
        if network is None or (row.paper, row.table, network.model) in found:
            continue
        classes, size = SEGFORMER if network.model.startswith("segformer") else SETS[recipe.data.name]
        with torch.device("meta"):
            built = models.build(network.model, classes, **network.options)
            counted = count_parameters(built) / 1e6, count_flops(built, size) / 2e9
        found[row.paper, row.table, network.model] = NetworkCost(row, network.model, classes, size, *counted)
    return list(found.values())
