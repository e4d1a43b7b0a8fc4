"""Whether reading starves training: the items a loader reads a second, over those that a step consumes.

Generated street scenes are written as PNGs of CamVid's and Cityscapes' size, then read and augmented as a run does it.
The step is that of a small student alone, of the recipe for two cores: a larger one needs fewer items a second.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from benchmarks.steps import plain_task, sgd
from benchmarks.timing import Figure, Work, in_turns, ratio
from segdistill import models
from segdistill.data import Scenes, TrainingStream, open_dataset, training_loader, training_transform

# Height and width of the images, and of the crop.
SETS = {"CamVid": ((360, 480), (360, 360)), "Cityscapes": ((1024, 2048), (512, 1024))}
BATCH = 2
ITEMS = 6
WARM_UP = 2  # batches: those that the workers prepare while they start


def read_over_consumed(rounds: int, device: str, workers: int, steps: int = 2) -> dict[str, Figure]:
    """Return the ratio for each size of images, with this number of loader processes."""
    figures = {}
    for name, (size, crop) in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            write_scenes(Path(folder), size)
            stream = TrainingStream(open_dataset("folder", folder), training_transform(crop), seed=0)
            step = student_step(next(iter(training_loader(stream, BATCH, steps=1))), device)
            total = WARM_UP + steps * (rounds + 1)
            batches = iter(training_loader(stream, BATCH, steps=total, workers=workers))
            for _ in range(WARM_UP):
                next(batches)
            sides: dict[str, Work] = {"read": lambda b=batches: [next(b) for _ in range(steps)], "step": step}
            times = in_turns(sides, rounds, device)
            figures[name] = ratio(times["step"], times["read"], steps)
    return figures


def write_scenes(root: Path, size: tuple[int, int], count: int = ITEMS) -> None:
    """Write noisy scenes as a data set of the layout ``folder``."""
    numbers = np.random.default_rng(0)
    for split in ("train", "val"):
        scenes = Scenes(split, length=count if split == "train" else 1, size=size)
        for index in range(len(scenes)):
            for kind, pixels in zip(("images", "labels"), scenes.read(index), strict=True):
                if kind == "images":
                    pixels = (pixels + numbers.normal(0, 2, pixels.shape)).clip(0, 255).astype(np.uint8)
                path = root / kind / split / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    (root / "classes.json").write_text(json.dumps({"classes": scenes.classes.names}))


def student_step(batch: tuple[Tensor, Tensor], device: str) -> Callable[[], None]:
    """Return one step of the student alone, the copy of the batch to the device included."""
    student = models.build("deeplabv3/tu-mobilenetv2_035", 10, encoder_output_stride=8, decoder_channels=64)
    student.to(device).train()
    optimizer = sgd(student.parameters())

    def step() -> None:
        images, labels = (tensor.to(device) for tensor in batch)
        plain_task(student(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
