"""Scores and costs of a network, under the keys of result.json."""

from typing import Any

from torch import nn

from segdistill.evaluation.cost import count_flops, count_parameters, of_image_or_window
from segdistill.evaluation.scoring import ImageSet, Score
from segdistill.recipes.schema import Data, Evaluation

COSTS = ("split", "params", "flops", "flops_size")


def score_record(
    score: Score, network: nn.Module, dataset: ImageSet, data: Data, split: str, protocol: Evaluation
) -> dict[str, Any]:
    """Return the record of a network that was scored on a split.

    Args:
        score: The score of the network on the split.
        network: The network. Its FLOPs are counted for one image of the split; for one window if it does not take the
            whole image.
        dataset: The split.
        data: The data section of the recipe, with the crop size.
        split: The name of the split.
        protocol: The section of the evaluation, which may have windows.
    """
    height, width = data.crop if dataset.task == "classification" else dataset[0][0].shape[-2:]
    flops, flops_size = of_image_or_window(lambda size: count_flops(network, size), (height, width), protocol.window)
    return {
        **score.record(),
        "split": split,
        "params": count_parameters(network),
        "flops": flops,
        "flops_size": list(flops_size),
    }
