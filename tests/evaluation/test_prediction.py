"""A run's student segments pictures as the run scored it: at the same size, in the same windows."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import segdistill
from segdistill import models
from segdistill.errors import UserError
from segdistill.evaluation.scoring import predict, scoring_transform
from segdistill.jobs.predict import predict as predict_job
from segdistill.training.run import distill
from segdistill.training.session import Session
from tests.tiny import tiny

KEYS = ("short_side", "window", "stride")


@pytest.mark.parametrize(
    "changes",
    [
        ("evaluation.short_side=48",),
        ("evaluation.short_side=48", "evaluation.resize_labels=true", "data.scale=0.5"),
        ("evaluation.window=[16,24]",),
        ("evaluation.window=[16,24]", "evaluation.stride=[8,8]", "evaluation.short_side=40"),
    ],
    ids=str,
)
def test_a_run_predicts_as_it_was_scored(changes: tuple[str, ...], tmp_path: Path, console: Console) -> None:
    recipe = tiny("method=none", "train.iterations=1", "train.learning_rate=0.0001", *changes)
    distill(recipe, tmp_path, console=console)
    run, session = segdistill.Run(tmp_path, trust=True), Session(recipe)
    protocol, description = recipe.evaluation, models.read_description(tmp_path)
    assert {key: tuple(np.atleast_1d(description[key])) for key in KEYS if key in description} == {
        key: tuple(np.atleast_1d(value)) for key in KEYS if (value := getattr(protocol, key)) is not None
    }
    whole = Session(tiny(*[change for change in changes if "scale" not in change])).dataset("val")
    image, labels = session.dataset("val")[0]
    pixels = whole[0][0].permute(1, 2, 0).numpy()
    scored, _ = scoring_transform(recipe.data, "segmentation", protocol)(image, labels)
    with torch.no_grad():
        expected = predict(run.student.cpu(), scored[None], pixels.shape[:2], protocol=protocol)[0].numpy()
    assert np.array_equal(run.predict(pixels), expected)
    for key in KEYS:
        description.pop(key, None)
    (tmp_path / "student.json").write_text(json.dumps(description))  # as of an earlier version
    assert not np.array_equal(segdistill.Run(tmp_path, trust=True).predict(pixels), expected)


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def fixed(folder: Path, **extra: object) -> segdistill.Run:
    name = "tests.networks:Fixed"
    network = models.build(name, 3)
    models.save_student(network, folder, name=name, num_classes=3, classes=list("abc"), extra=extra)
    return segdistill.Run(folder, trust=True)


def test_an_image_that_the_network_cannot_take_is_one_line_whose_remedy_works(tmp_path: Path) -> None:
    fixed(tmp_path / "run")
    Image.fromarray(image(40, 50)).save(tmp_path / "street.png")
    with pytest.raises(UserError) as raised:
        predict_job(tmp_path / "run", [tmp_path / "street.png"], out=tmp_path / "out", trust=True)
    assert str(raised.value) == (
        f'{tmp_path / "street.png"}: the student cannot take an image of 40x50: expected 16x24; add "window": '
        f"[HEIGHT, WIDTH], a size that it takes, to {tmp_path / 'run' / 'student.json'}, or resize the image"
    )
    run = fixed(tmp_path / "run", window=[16, 24])
    assert run.predict(tmp_path / "street.png").shape == (40, 50)
    with pytest.raises(UserError, match="image of 16x20: .*the image is smaller than the window, 16x24; enlarge it$"):
        run.predict(image(16, 20))
    with pytest.raises(UserError, match=r'of 40x50: expected 16x24; change "window" in .*run/student.json to a size'):
        fixed(tmp_path / "run", window=[16, 16]).predict(image(40, 50))
    with pytest.raises(UserError, match=r"student.json: 'stride' must be at most 'window'; correct or remove it"):
        fixed(tmp_path / "run", window=[16, 24], stride=[32, 8]).predict(image(40, 50))
