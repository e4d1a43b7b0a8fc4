"""A folder of a finished run with a student of any network, whose weights are random."""

import json
from pathlib import Path

import torch
from torch import nn

from segdistill.models import build, save_student
from segdistill.recipes import load
from segdistill.recipes.load import to_yaml

CLASSES = ("road", "sky", "tree")
SCORES = {
    "miou": 0.5,
    "iou": {"road": 0.75, "sky": 0.5, "tree": 0.25},
    "pixel_accuracy": 0.8,
    "split": "test",
    "params": 1_500_000,
}


def write_run(
    folder: Path,
    model: str,
    *changes: str,
    classes: tuple[str, ...] = CLASSES,
    alone: float | None = 0.4375,
    method: str = "kd",
    command: tuple[str, ...] = ("segdistill", "distill", "quickstart"),
    size: int = 64,
) -> nn.Module:
    """Write the folder, and return its student in eval mode, with statistics of batch norm that are not the initial."""
    torch.manual_seed(0)
    network = build(model, len(classes))
    with torch.no_grad():
        network.train()(torch.randn(2, 3, size, size))
    save_student(network, folder, name=model, num_classes=len(classes), classes=classes)
    recipe = load("quickstart", [f"student.model={model}", "student.options={}", f"method={method}", *changes])
    (folder / "recipe.yaml").write_text(to_yaml(recipe))
    scores = {**SCORES, "iou": dict(zip(classes, SCORES["iou"].values(), strict=True))}
    teacher = {**scores, "miou": 0.625}
    write(folder / "result.json", {**scores, "method": method, "seed": 0, "teacher": teacher})
    if alone is not None:
        write(folder / "alone" / "result.json", {**scores, "miou": alone, "method": "none", "seed": 0})
    write(folder / "environment.json", {"command": list(command), "commit": "abc123", "packages": {"torch": "2.9"}})
    return network.eval()


def write(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
