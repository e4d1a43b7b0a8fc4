"""A tiny run: generated scenes or a folder of images, networks of a few thousand parameters."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from segdistill.recipes import Recipe, load

TINY = (
    "method=gskd",
    "data.size=[32,48]",
    "data.crop=[32,32]",
    "data.images=[12,3,3]",
    "student.model=tests.networks:small",
    "student.options={}",
    "teacher.model=tests.networks:large",
    "teacher.options={}",
    "teacher.min_miou=0",
    "teacher.train.iterations=3",
    "train.iterations=6",
    "train.batch_size=4",
    "train.validate_every=3",
    "train.log_every=2",
    "train.optimizer=sgd",
    "train.learning_rate=0.01",
    "train.accelerator=cpu",
)


def said(console: Console) -> str:
    """Return what was printed so far."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def tiny(*changes: str) -> Recipe:
    """Return a recipe that takes a second."""
    return load("quickstart", [*TINY, *changes])


def image_folder(root: Path, train: int = 12, val: int = 4) -> Path:
    """Write a data set of two classes for ``data.name=folder``, and return its folder."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(root / f"images/{split}/{index}.png")
            Image.fromarray(rng.integers(0, 2, (32, 32), np.uint8)).save(root / f"labels/{split}/{index}.png")
    (root / "classes.json").write_text(json.dumps({"classes": ["a", "b"]}))
    return root
