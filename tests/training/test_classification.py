"""Image classification, from the recipe to the result: generated shapes, and ImageNet's layout."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from segdistill.errors import UserError
from segdistill.evaluation.scoring import Score
from segdistill.recipes import Recipe, load
from segdistill.training import train
from segdistill.training.run import distill
from tests.tiny import said

SMALL = (
    "data.crop=[64,64]",  # a last map of 2 x 2
    "data.workers=0",
    "student.model=resnet18",
    "teacher.min_miou=0",
    "train.batch_size=4",
    "train.validate_every=2",
    "train.accelerator=cpu",
)


def recipe(*changes: str) -> Recipe:
    data = ("data.name=shapes", "data.size=[32,32]", "data.images=[24,12,12]")
    return load("gskd_imagenet_r18", [*SMALL, *data, "teacher.train={iterations: 2}", "train.iterations=4", *changes])


def test_the_score_by_hand() -> None:
    #                       predicted: disc  ring  square
    confusion = torch.tensor([[3, 1, 0], [2, 2, 0], [0, 0, 0]])
    score = Score.of_classification(confusion, ("disc", "ring", "square"))
    assert score.value == 5 / 8
    assert score.classes == {"disc": 3 / 4, "ring": 1 / 2, "square": None}
    assert set(score.record()) == {"top1", "accuracy"}


def test_a_run_from_teacher_to_table(tmp_path: Path, console: Console) -> None:
    result = distill(recipe(), tmp_path / "run", console=console)
    assert set(result["accuracy"]) == {"disc", "ring", "square", "triangle", "cross", "bars"}
    assert 0 <= result["top1"] <= 1
    assert "miou" not in result
    assert "top-1 accuracy" in said(console)
    terms = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0])
    assert terms["split"] == "gradient_share"
    assert terms["gskd"] > 0, "random positions of the last map"
    alone = json.loads((tmp_path / "run/alone/result.json").read_text())
    assert alone["method"] == "none"


def test_a_replayed_teacher_answers_as_the_live_one(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = recipe(
        "method=kd", "baseline=false", "teacher.replay=2", "teacher.replay_type=float16", "train.log_every=1"
    )
    distill(given, tmp_path / "a/replayed", console=console)
    assert "24 images x 2 crops, logits 6, float16" in said(console)
    monkeypatch.setattr(train, "replay_teacher", lambda *arguments: None)
    distill(given, tmp_path / "b/live", console=console)
    replayed, live = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (tmp_path / "a/replayed", tmp_path / "b/live")
    )
    for one, other in zip(replayed, live, strict=True):
        if one["split"] == "train":
            assert one["kd"] == pytest.approx(other["kd"], rel=1e-2, abs=1e-4)


def test_imagenets_layout_and_a_class_called_255(tmp_path: Path, console: Console) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 1)):
        for name in [f"n{index:04d}" for index in range(257)]:
            folder = tmp_path / "imagenet" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{index}.JPEG")
    changes = (f"data.root={tmp_path / 'imagenet'}", "method=kd", "baseline=false", "train.iterations=1")
    result = distill(
        load("gskd_imagenet_r18", [*SMALL, *changes, "teacher.train={iterations: 1}"]),
        tmp_path / "run",
        console=console,
    )
    assert result["accuracy"]["n0255"] is not None, "label 255 is a class here, not void"
    assert len(result["accuracy"]) == 257


def test_a_teacher_that_knows_too_little_is_refused_by_its_accuracy(tmp_path: Path, console: Console) -> None:
    with pytest.raises(UserError, match=r"the teacher has \d+.\d% top-1 accuracy on val, below teacher.min_miou=1"):
        distill(recipe("teacher.min_miou=1"), tmp_path / "run", console=console)
