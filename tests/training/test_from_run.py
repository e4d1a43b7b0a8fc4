"""Weights of a run bring what the run did besides them: normalization, upsampling, options."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from segdistill import models
from segdistill.data import Classes
from segdistill.errors import UserError
from segdistill.outputs import aligns_corners
from segdistill.recipes.schema import Network, Teacher
from segdistill.training.build import build_network, build_teacher
from segdistill.training.run import distill
from segdistill.training.session import Session
from tests.networks import sequential
from tests.tiny import tiny

CLASSES = Classes(("sky", "road", "car"))
MEAN, STD = (0.5, 0.4, 0.3), (0.1, 0.2, 0.3)


def dilated(num_classes: int, dilation: int = 1, width: int = 6) -> nn.Module:
    """Return a network whose weights fit with any dilation."""
    network = sequential(num_classes, width=width)
    network.stem.dilation, network.stem.padding = (dilation, dilation), (dilation, dilation)
    return network


def other(num_classes: int) -> nn.Module:
    """Return a network of the same weights under another name, without options."""
    return sequential(num_classes, width=6)


MODEL, OTHER = f"{__name__}:dilated", f"{__name__}:other"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the folder of a run whose student differs from its model's defaults in every key."""
    folder = tmp_path / "run"
    network = models.build(MODEL, 3, mean=MEAN, std=STD, align_corners=True, dilation=3)
    network.train()(torch.randn(2, 3, 32, 32))  # so that the statistics of the batch norm are not the initial ones
    models.save_student(network, folder, name=MODEL, num_classes=3, options={"dilation": 3}, classes=CLASSES.names)
    (folder / "checkpoints").mkdir()
    torch.save({"student": network.state_dict()}, folder / "checkpoints" / "best.pt")
    return folder


def scores(network: nn.Module) -> Tensor:
    with torch.no_grad():
        return network.eval()(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))).logits


def change(folder: Path, **values: Any) -> None:
    """Change keys of student.json; None removes one."""
    spec = {**json.loads((folder / "student.json").read_text()), **values}
    (folder / "student.json").write_text(json.dumps({key: value for key, value in spec.items() if value is not None}))


@pytest.mark.parametrize("file", ["", "student.safetensors", "checkpoints/best.pt"])
@pytest.mark.parametrize(
    "keys", [{}, {"mean": MEAN}, {"std": STD, "options": {"dilation": 3}}, {"align_corners": True}], ids=str
)
def test_unset_keys_are_those_of_the_run(run: Path, file: str, keys: dict[str, Any]) -> None:
    expected = models.load(run, trust=True)
    teacher = build_teacher(Teacher(model=MODEL, weights=str(run / file), **keys), CLASSES)
    student = build_network(Network(model=MODEL, weights=str(run / file), **keys), CLASSES, strict=False)
    for built in (teacher, student):
        assert torch.equal(scores(built), scores(expected))
        assert aligns_corners(built)
        assert (built.mean, built.std) == (MEAN, STD)


@pytest.mark.parametrize(
    ("keys", "there", "here"),
    [
        ({"mean": STD}, "mean=[0.5, 0.4, 0.3]", "mean=[0.1, 0.2, 0.3]"),
        ({"std": MEAN}, "std=[0.1, 0.2, 0.3]", "std=[0.5, 0.4, 0.3]"),
        ({"align_corners": False}, "align_corners=true", "align_corners=false"),
        ({"options": {"dilation": 5, "width": 6}}, "options.dilation=3", "options.dilation=5"),
        (
            {"mean": MEAN, "std": MEAN, "align_corners": False},
            "std=[0.1, 0.2, 0.3], align_corners=true",
            "std=[0.5, 0.4, 0.3], align_corners=false",
        ),
    ],
)
def test_another_value_of_the_recipe_is_an_error_whose_remedy_works(
    run: Path, tmp_path: Path, keys: dict[str, Any], there: str, here: str
) -> None:
    expected = (
        f"{run} was trained with {there}, and the recipe has {here}; leave out these keys, or copy "
        "student.safetensors to a folder without student.json"
    )
    for build in (
        lambda weights: build_teacher(Teacher(model=MODEL, weights=str(weights), **keys), CLASSES),
        lambda weights: build_network(Network(model=MODEL, weights=str(weights), **keys), CLASSES, strict=False),
    ):
        with pytest.raises(UserError) as raised:
            build(run)
        assert str(raised.value) == expected
        copied = tmp_path / "copied"
        copied.mkdir(exist_ok=True)
        shutil.copy(run / "student.safetensors", copied)
        build(copied)


def test_an_option_that_the_run_left_out_is_the_recipes(run: Path) -> None:
    built = build_teacher(Teacher(model=MODEL, weights=str(run), options={"width": 6}), CLASSES)
    assert torch.equal(scores(built), scores(models.load(run, trust=True)))


def test_runs_of_earlier_versions_decide_only_what_they_wrote(run: Path) -> None:
    change(run, network_mean=None, network_std=None, align_corners=None)
    built = build_teacher(Teacher(model=MODEL, weights=str(run)), CLASSES)
    plain = models.build(MODEL, 3, weights=run, dilation=3)
    assert torch.equal(scores(built), scores(plain))
    assert not aligns_corners(built)
    build_teacher(Teacher(model=MODEL, weights=str(run), mean=STD, align_corners=True), CLASSES)


def test_another_model_takes_the_normalization_of_the_weights(run: Path) -> None:
    student = build_network(Network(model=OTHER, weights=str(run)), CLASSES, strict=False)
    assert (student.mean, student.std, aligns_corners(student)) == (MEAN, STD, False)
    teacher = build_teacher(Teacher(model=OTHER, weights=str(run)), CLASSES)
    assert (teacher.mean, teacher.std, aligns_corners(teacher)) == (MEAN, STD, True)
    assert torch.equal(scores(student), scores(teacher))


def test_a_run_as_the_teacher_scores_as_in_its_run(tmp_path: Path, console: Console) -> None:
    keys = [f"student.mean={list(MEAN)}", f"student.std={list(STD)}", "student.options={dilation: 3}"]
    first = tiny("method=none", f"student.model={MODEL}", *keys, "student.align_corners=true")
    distill(first, tmp_path / "first", console=console)
    score = json.loads((tmp_path / "first" / "result.json").read_text())["val_miou"]
    weights = [f"teacher.weights={tmp_path / 'first'}", "teacher.train=null", f"teacher.model={MODEL}"]
    teacher = Session(tiny(*weights)).teacher()
    assert teacher.score("val").value == pytest.approx(score)


def test_a_student_that_starts_from_a_run_is_saved_with_the_keys_of_the_run(
    run: Path, tmp_path: Path, console: Console
) -> None:
    first = models.build(MODEL, 10, mean=MEAN, std=STD, align_corners=True, dilation=3)  # the scenes have 10 classes
    models.save_student(first, run, name=MODEL, num_classes=10, options={"dilation": 3})
    recipe = tiny("method=none", f"student.model={MODEL}", f"student.weights={run}")
    distill(recipe, tmp_path / "next", console=console)
    spec = models.read_description(tmp_path / "next")
    assert spec["options"] == {"dilation": 3}
    assert (spec["network_mean"], spec["network_std"], spec["align_corners"]) == (list(MEAN), list(STD), True)
