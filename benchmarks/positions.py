"""From which classes GSKD draws positions, class-balanced or random, and which classes the teacher leaves out.

    python -m benchmarks.positions RECIPE KEY=VALUE...

With ``labels: teacher_correct``, as the method ``gskd`` has it, positions are drawn only where the teacher predicts the
label.
"""

import sys
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from segdistill.data import training_loader
from segdistill.data.statistics.common_classes import common_classes
from segdistill.distillation.labels import label_forms
from segdistill.distillation.running import run
from segdistill.losses._class_positions import sample_positions
from segdistill.losses._ops import labels_at
from segdistill.recipes import load
from segdistill.training.session import Session

BATCHES = 60
SAMPLES = 16
VOID = 255


def main(source: str, *changes: str) -> None:
    """Print how many of the classes of an image have a position to draw, and the share of rare classes by way."""
    torch.manual_seed(0)
    session = Session(load(source, list(changes)), runs=Path("runs"))
    teacher, train, form = session.teacher(), session.recipe.train, session.recipe.terms["gskd"].labels
    assert teacher is not None, f"{source} has no trained teacher; give teacher.weights"
    names = session.dataset("train").classes.names
    common = common_classes(session.class_pixels())
    rare = torch.tensor([name not in common for name in names])
    loader = training_loader(session.stream(), train.batch_size, steps=BATCHES)
    labeled, used = [], []
    for images, labels, *_ in loader:
        with torch.no_grad():
            logits = run(teacher.network.eval(), images.to(session.fabric.device)).logits.cpu()
        seen = label_forms(labels, {"logits": logits}, {form}, VOID)[form]
        assert seen is not None
        labeled.append(labels_at(labels, logits).flatten(1))
        used.append(labels_at(seen, logits).flatten(1))
    all_labels, drawn_from = torch.cat(labeled), torch.cat(used)
    print(f"labels: {form}; rare classes: {', '.join(name for name in names if name not in common)}")
    present, left = (_classes_of(labels, len(names)) for labels in (all_labels, drawn_from))
    print(f"classes of an image with a position to draw: {int(left.sum())} of {int(present.sum())}, "
          f"rare ones {int(left[:, rare].sum())} of {int(present[:, rare].sum())}")  # fmt: skip
    ways: tuple[Literal["class_balanced", "random"], ...] = ("class_balanced", "random")
    for way in ways:
        positions = sample_positions(drawn_from, SAMPLES, num_classes=len(names), sampling=way)
        counted = torch.arange(positions.places.shape[1]) < positions.size[:, None]
        classes = drawn_from.gather(1, positions.places)[counted]
        print(f"{way}: {len(classes)} positions, {rare[classes].float().mean():.1%} of them of rare classes")


def _classes_of(labels: Tensor, count: int) -> Tensor:
    """Return which classes are in the labels of each image, boolean (N, classes)."""
    return torch.stack([(labels == index).any(dim=1) for index in range(count)], dim=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
