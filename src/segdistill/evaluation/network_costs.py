"""Parameters and multiply-adds of the networks in the papers' experiments, with the published values."""

from dataclasses import dataclass

import torch

from segdistill import models
from segdistill.evaluation.cost import count_flops, count_parameters
from segdistill.recipes import ROWS, Row, load

# The number of classes, and the height and width of the scored images, which are whole images of the data set.
SETS = {
    "cityscapes": (19, (1024, 2048)),
    "camvid": (11, (360, 480)),
    "voc": (21, (512, 512)),
    "ade20k": (150, (512, 512)),
    "imagenet": (1000, (224, 224)),
}
# The operations that the papers print for SegFormer come from SegFormer's paper, for ADE20K.
SEGFORMER = (150, (512, 512))

EXPLANATION = """\
Parameters: millions, including the auxiliary heads, as in the papers.
Operations: billions of multiply-adds for one image of the given size, by torch.utils.flop_counter (convolutions and
matrix products). The papers state neither how they counted nor at which size. On Cityscapes their numbers are 4 to 21 %
above those of whole images. On the other sets they agree neither with a size nor with each other: DeepLabV3 on
ResNet-18 has 503.0 on Pascal VOC and 61.0 on ADE20K, whose crops are equal, and 61.0 on CamVid too. SegFormer-B0's 8.4
equals the count here; B4's 121.7 is above the 95.7 of the SegFormer paper."""


@dataclass(frozen=True)
class NetworkCost:
    """The cost of one network in one table of a paper.

    Attributes:
        row: The published row.
        model: The name of the network in this package.
        classes: The number of classes of the data set.
        size: Height and width of the image.
        params: Parameters, in millions.
        multiply_adds: Multiply-adds, in billions.
    """

    row: Row
    model: str
    classes: int
    size: tuple[int, int]
    params: float
    multiply_adds: float


def network_costs() -> list[NetworkCost]:
    """Return the cost of every network whose parameters or operations a paper prints, once for each table."""
    costs: dict[tuple[str, str, str], NetworkCost] = {}
    for row in ROWS:
        if row.params is None and row.flops is None:
            continue
        recipe = load(row.experiment, row.changes)
        network = recipe.teacher if row.method == "teacher" else recipe.student
        if network is None or (row.paper, row.table, network.model) in costs:
            continue
        classes, size = SEGFORMER if network.model.startswith("segformer") else SETS[recipe.data.name]
        with torch.device("meta"):
            built = models.build(network.model, classes, **network.options)
            counted = count_parameters(built) / 1e6, count_flops(built, size) / 2e9
        costs[row.paper, row.table, network.model] = NetworkCost(row, network.model, classes, size, *counted)
    return list(costs.values())
