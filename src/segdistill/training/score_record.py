"""A network's scores and costs under the keys of result.json."""

from typing import Any

from torch import nn

from segdistill.evaluation.cost import count_flops, count_parameters
from segdistill.evaluation.scoring import ImageSet, Score
from segdistill.recipes.schema import Data

COSTS = ("split", "params", "flops", "flops_size")


def score_record(score: Score, network: nn.Module, dataset: ImageSet, data: Data, split: str) -> dict[str, Any]:
    """Return the record of a network that was scored on a split.

    Args:
        score: Its score.
        network: The network; its operations are counted for one image of the split.
        dataset: The split.
        data: How the split is read.
        split: Its name.
    """
    height, width = data.crop if dataset.task == "classification" else dataset[0][0].shape[-2:]
    return {
        **score.record(),
        "split": split,
        "params": count_parameters(network),
        "flops": count_flops(network, (height, width)),
        "flops_size": [height, width],
    }
