"""The YAML at the beginning of a model card, with the scores as a model index. This module does not import PyTorch."""

from typing import Any

import yaml

from segdistill.hub.facts import Facts
from segdistill.hub.layouts import layout_of
from segdistill.hub.license import license_keys

LIBRARIES = {"smp": "segmentation-models-pytorch", "transformers": "transformers", "segdistill": "segdistill"}
"""The hub's name of each layout's library."""


def data_name(facts: Facts) -> str:
    """Return the name of the data set: the folder's for images of the user, otherwise the name in the recipe."""
    data = facts.recipe.data
    if data.name in ("folder", "hf") and data.root:
        return data.root.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    return data.name


def front_matter(facts: Facts, license: str) -> str:
    """Return the front matter with its delimiters. Every name in it is escaped.

    Args:
        facts: The facts of the run.
        license: The identifier of the license.
    """
    classifies = facts.metric.key == "top1"
    task = "image-classification" if classifies else "image-segmentation"
    layout = layout_of(facts.recipe.student.model)
    distilled = facts.result["method"] != "none"
    content = {
        **license_keys(license),
        "library_name": LIBRARIES[layout],
        "pipeline_tag": task,
        "tags": [
            "segdistill",
            *(["knowledge-distillation"] if distilled else []),
            *([] if classifies else ["semantic-segmentation"]),
        ],
        "model-index": [
            {
                "name": model_name(facts),
                "results": [
                    {
                        "task": {"type": task},
                        "dataset": {
                            "type": facts.recipe.data.name,
                            "name": data_name(facts),
                            "split": facts.result["split"],
                        },
                        "metrics": _metrics(facts),
                    }
                ],
            }
        ],
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{text}---\n"


def model_name(facts: Facts) -> str:
    """Return a name of the model: network, data set, method."""
    method = facts.result["method"]
    return f"{facts.recipe.student.model} {data_name(facts)} {'alone' if method == 'none' else method}"


def _metrics(facts: Facts) -> list[dict[str, Any]]:
    kinds = (
        ("miou", "mean_iou", "mIoU"),
        ("top1", "accuracy", "top-1 accuracy"),
        ("pixel_accuracy", "accuracy", "pixel accuracy"),
        ("class_accuracy", "mean_accuracy", "mean class accuracy"),
    )
    protocol = f" ({', '.join(facts.protocol)})" if facts.protocol else ""
    return [
        {"type": kind, "value": round(float(facts.result[key]), 4), "name": name + protocol}
        for key, kind, name in kinds
        if key in facts.result
    ]
