"""Parts of a network that do not learn: by their path, in a recipe, and in the two stages of GKD."""

from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor

from segdistill import models
from segdistill.errors import UserError
from segdistill.training.build import freeze
from segdistill.training.run import distill
from segdistill.training.session import Session
from tests.networks import WithAux, sequential
from tests.tiny import tiny

HEAD = {"network.classify.weight", "network.classify.bias"}


def learns(network: torch.nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def state(folder: Path) -> dict[str, Tensor]:
    return models.load(folder, trust=True).state_dict()


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    return {name for name, value in one.items() if torch.equal(value, other[name])}


def test_a_module_by_its_path_or_by_the_end_of_it() -> None:
    network = torch.nn.ModuleDict({"inner": sequential(), "other": WithAux()})
    freeze(network, ["inner.stem", "aux_classifier", "other.body"])
    assert learns(network) == {
        *(f"inner.{name}.{kind}" for name in ("norm", "classify") for kind in ("weight", "bias")),
        *(f"other.classifier.{kind}" for kind in ("weight", "bias")),
    }


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["stemm"], "unknown module of Sequential to freeze 'stemm'; did you mean 'stem'"),
        (["zzz"], "unknown module of Sequential to freeze 'zzz'; there are: act, classify, drop, norm, stem"),
        ([""], "unknown module of Sequential to freeze ''"),
    ],
)
def test_an_unknown_module(paths: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        freeze(sequential(), paths)


def test_a_path_that_ends_two_modules_is_refused() -> None:
    network = torch.nn.ModuleDict({"a": sequential(), "b": sequential()})
    with pytest.raises(UserError, match="unknown module of ModuleDict to freeze 'stem'"):
        freeze(network, ["stem"])


def test_representation_first_then_the_task_on_a_frozen_encoder(tmp_path: Path, console: Console) -> None:
    common = ("baseline=false", "train.weight_decay=0", "train.validate_every=6")
    first = tiny("method=qsd", "terms.qsd.on=act", "terms.task.weight=0", *common)
    distill(first, tmp_path / "first", console=console)
    initial = Session(first).build_student().state_dict()
    unchanged = equal(initial, state(tmp_path / "first"))
    assert unchanged >= HEAD
    assert unchanged.isdisjoint({"network.stem.weight", "network.norm.weight", "network.norm.running_mean"})

    second = tiny("method=none", f"student.weights={tmp_path / 'first'}", "student.freeze=[stem,norm]", *common)
    distill(second, tmp_path / "second", console=console)
    kept = equal(state(tmp_path / "first"), state(tmp_path / "second"))
    assert kept == initial.keys() - HEAD
    assert "network.norm.running_mean" in kept


def test_a_teacher_trains_its_head_alone(tmp_path: Path, console: Console) -> None:
    recipe = tiny("teacher.freeze=[stem,norm]", "baseline=false")
    distill(recipe, tmp_path, console=console)
    torch.manual_seed(recipe.seed)
    initial = models.build("tests.networks:large", 10).state_dict()
    assert equal(initial, state(tmp_path / "teacher")) == initial.keys() - HEAD
