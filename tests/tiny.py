"""A tiny run: generated scenes, networks of a few thousand parameters."""

import io

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
