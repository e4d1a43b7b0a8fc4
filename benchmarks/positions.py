"""How often the teacher is right at the positions that GSKD draws, class-balanced or random.

    python -m benchmarks.positions RECIPE KEY=VALUE...

GSKD copies the teacher's similarities at these positions, and its mistakes where the teacher predicts another class.
"""

import sys
from pathlib import Path
from typing import Literal

import torch

from segdistill.data import training_loader
from segdistill.distillation.running import run
from segdistill.losses._class_positions import sample_positions
from segdistill.losses._ops import labels_at
from segdistill.recipes import load
from segdistill.training.session import Session

BATCHES = 60
SAMPLES = 16


def main(source: str, *changes: str) -> None:
    """Print, for each way of drawing, the share of positions at which the teacher predicts the label."""
    torch.manual_seed(0)
    session = Session(load(source, list(changes)), runs=Path("runs"))
    teacher, train = session.teacher(), session.recipe.train
    assert teacher is not None, f"{source} has no trained teacher; give teacher.weights"
    loader = training_loader(session.stream(), train.batch_size, steps=BATCHES)
    batches = [(images.to(session.fabric.device), labels.to(session.fabric.device)) for images, labels, *_ in loader]
    ways: tuple[Literal["class_balanced", "random"], ...] = ("class_balanced", "random")
    for way in ways:
        right = drawn = 0
        for images, labels in batches:
            with torch.no_grad():
                logits = run(teacher.network.eval(), images).logits
            at = labels_at(labels, logits).flatten(1)
            hits = logits.argmax(1).flatten(1) == at
            positions = sample_positions(at, SAMPLES, num_classes=logits.shape[1], sampling=way)
            counted = torch.arange(positions.places.shape[1], device=at.device) < positions.size[:, None]
            right += int((hits.gather(1, positions.places) & counted).sum())
            drawn += int(counted.sum())
        print(f"{way}: the teacher predicts the label at {right / drawn:.1%} of {drawn} positions")


if __name__ == "__main__":
    main(*sys.argv[1:])
