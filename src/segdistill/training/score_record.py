"""Scores and costs of a network, under the keys of result.json."""

from typing import Any

from torch import nn

from segdistill.evaluation.cost import count_flops, count_parameters
from segdistill.evaluation.scoring import ImageSet, Score
from segdistill.recipes.schema import Data

COSTS = ("split", "params", "flops", "flops_size")


def score_record(score: Score, network: nn.Module, dataset: ImageSet, data: Data, split: str) -> dict[str, Any]:
    """Return the record of a network that was scored on a split.

    Args:
        score: The score of the network on the split.
        network: The network. Its FLOPs are counted for one image of the split.
        dataset: The split.
        data: The data section of the recipe, with the crop size.
        split: The name of the split.
    """
    height, width = data.crop if dataset.task == "classification" else dataset[0][0].shape[-2:]
    return {
        **score.record(),
        "split": split,
        "params": count_parameters(network),
        "flops": count_flops(network, (height, width)),
        "flops_size": [height, width],
    }
