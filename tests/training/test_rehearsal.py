"""What the first validation would stumble on is found before anything is trained, by every command that trains."""

import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor, nn

from segdistill import models
from segdistill.comparison.compare import compare
from segdistill.comparison.estimate import estimate
from segdistill.comparison.plan import plan
from segdistill.comparison.search import search
from segdistill.comparison.sweep import sweep
from segdistill.data import Scenes
from segdistill.errors import UserError
from segdistill.evaluation.scoring import evaluate, try_scoring
from segdistill.recipes import alone_recipe
from segdistill.recipes.schema import Data, Evaluation
from segdistill.training.doctor import examine
from segdistill.training.rehearsal import rehearse
from segdistill.training.run import distill
from segdistill.training.session import Session
from tests.networks import sequential
from tests.tiny import TINY, tiny


class FixedSize(nn.Module):
    """Takes images of 32 x 32, as the crops of a tiny run are; its whole images are 32 x 48."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.network = sequential(classes)

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[2:] == (32, 32), f"Input width ({images.shape[3]}) doesn't match model (32)."
        return self.network(images)


def fixed(num_classes: int) -> nn.Module:
    return FixedSize(num_classes)


def wide(num_classes: int) -> nn.Module:
    return sequential(num_classes + 3)


def narrow(num_classes: int) -> nn.Module:
    return sequential(num_classes - 1)


def classifier(num_classes: int) -> nn.Module:
    return nn.Sequential(sequential(num_classes), nn.AdaptiveAvgPool2d(1), nn.Flatten())


# Distils by features, so that the numbers of classes are nobody's business but the scoring's.
FEATURES = ("method=none", "terms.f={loss: skd_pairwise, 'on': act}")
WHOLE = r"the {} cannot take an image of 32x48: Input width \(48\) doesn't match model \(32\); images are scored whole"
STUDENT = f"student.model={__name__}:fixed"


def everywhere() -> dict[str, Callable[[Path, Console], None]]:
    planned = plan("quickstart", [*TINY, STUDENT], "kd", "0")
    searched = search("quickstart", [*TINY, *FEATURES, STUDENT], ["terms.f.weight=1..2"])
    return {
        "distill": lambda folder, console: distill(tiny(*FEATURES, STUDENT), folder, console=console),
        "train": lambda folder, console: distill(alone_recipe(tiny(STUDENT)), folder, console=console),
        "doctor": lambda folder, console: examine(Session(tiny(*FEATURES, STUDENT)), console),
        "compare": lambda folder, console: compare(planned, folder, console=console),
        "dry run": lambda folder, console: estimate(planned, folder, console=console),
        "sweep": lambda folder, console: sweep(searched, folder, trials=1, console=console),
    }


@pytest.mark.parametrize("command", everywhere())
def test_an_encoder_of_one_size_is_found_before_training(command: str, tmp_path: Path, console: Console) -> None:
    if command == "sweep":
        pytest.importorskip("optuna")
    with pytest.raises(UserError, match=WHOLE.format("student")):
        everywhere()[command](tmp_path / "run", console)
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("fixed", WHOLE),
        ("wide", r"the {} gives 13 scores and the data set has 10 classes; build it with one output for each"),
        ("narrow", "the {} gives 9 scores and the data set has 10 classes"),
    ],
)
def test_networks_that_cannot_be_scored_are_named(side: str, model: str, message: str) -> None:
    with pytest.raises(UserError, match=message.format(side)) as error:
        rehearse(Session(tiny(*FEATURES, f"{side}.model={__name__}:{model}")))
    assert "\n" not in str(error.value)
    rehearse(Session(tiny(*FEATURES)))  # what the message advises: a callable that heeds num_classes


def test_a_classifier_segments_nothing() -> None:
    with pytest.raises(UserError, match=r"the student gives scores of shape \(1, 10\); expected \(N, classes, h, w\)"):
        rehearse(Session(alone_recipe(tiny(f"student.model={__name__}:classifier"))))


def test_a_network_that_fails_on_a_crop_is_one_line() -> None:
    with pytest.raises(UserError, match=r"the student fails on an image of 24x24: Input width \(24\).*data\.crop"):
        rehearse(Session(alone_recipe(tiny(STUDENT, "data.crop=[24,24]"))))


def test_scoring_itself_says_it_in_the_same_words() -> None:
    scenes, fabric = Scenes("val", length=2, size=(32, 48)), Fabric(accelerator="cpu", devices=1)
    with pytest.raises(UserError, match=WHOLE.format("network")):
        evaluate(FixedSize(len(scenes.classes)), scenes, fabric, Data(name="scenes"))
    with pytest.raises(UserError, match="the network gives 14 scores"):
        evaluate(sequential(14), scenes, fabric, Data(name="scenes"))


class Huge(nn.Module):
    """A network for whose images, or pairs of them, the memory is too small."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has")
        return torch.zeros(len(images), 10, *images.shape[-2:])


@pytest.mark.parametrize(("most", "remedy"), [(1, "batch_size=1"), (0, r"window=\[HEIGHT,WIDTH\]")])
def test_scoring_without_memory_names_the_key_that_helps(most: int, remedy: str) -> None:
    scenes, fabric = Scenes("val", length=2, size=(32, 48)), Fabric(accelerator="cpu", devices=1)
    protocol = Evaluation(batch_size=most + 1)
    words = rf"scoring the network on {most + 1} image\(s\) of 32x48.*; give evaluation.{remedy}$"
    with pytest.raises(UserError, match=words):
        evaluate(Huge(most), scenes, fabric, Data(name="scenes"), protocol=protocol)


def test_on_a_gpu_as_many_images_are_tried_as_are_scored_at_once() -> None:
    """Otherwise the first validation, perhaps hours later, would be the first to need the memory."""
    scenes = Scenes("val", length=5, size=(32, 48))
    gpu: Any = SimpleNamespace(device=torch.device("meta"), autocast=nullcontext)
    seen: list[int] = []

    class Counting(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(len(images))
            return images.new_zeros(len(images), len(scenes.classes), *images.shape[-2:])

    for protocol in (Evaluation(), Evaluation(batch_size=3)):
        try_scoring(Counting(), scenes, gpu, Data(name="scenes"), "the student", protocol)
    assert seen == [5, 3]


class PartlyUsed(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.network, self.spare = sequential(classes), nn.ModuleDict({"head": nn.Linear(3, 3)})

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


def partly_used(num_classes: int) -> nn.Module:
    return PartlyUsed(num_classes)


def test_several_processes_need_a_gradient_of_each_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the second step fails inside PyTorch, after the data have been prepared."""
    words = (f"student.model={__name__}:partly_used", "student.options={}")
    rehearse(Session(tiny(*words)))
    monkeypatch.setattr(Fabric, "world_size", 2)
    words_of_error = r"does not use .*spare\.head\.weight, .*; give (student\.freeze=\[\S*spare\.head\])$"
    with pytest.raises(UserError, match=words_of_error) as caught:
        rehearse(Session(tiny(*words)))
    advice = re.search(words_of_error, str(caught.value))
    assert advice is not None
    rehearse(Session(tiny(*words, advice[1])))


left = 0


def scarce(student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
    """A loss for which the memory ends after some calls."""
    global left
    left -= 1
    if left < 0:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has")
    return (student - teacher).square().mean()


@pytest.mark.parametrize(("calls", "where"), [(0, r"a step on \d images of .*"), (4, r"step \d")])
def test_a_step_without_memory_names_the_keys_that_help(
    calls: int, where: str, tmp_path: Path, console: Console
) -> None:
    global left
    left = calls
    recipe = tiny("method=none", f"terms.mine.loss={__name__}:scarce", "train.iterations=9")
    with pytest.raises(UserError, match=rf"^{where} needs more memory .*2.50 GiB\); raise train.accumulate.*recompute"):
        distill(recipe, tmp_path / "run", console=console)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("model", "option", "other"),
    [
        (
            "unet/tu-swin_tiny_patch4_window7_224",
            "strict_img_size",
            {"embed_dim": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]},
        ),
        ("dpt/tu-vit_tiny_patch16_224", "dynamic_img_size", {}),
    ],
)
def test_the_advised_options_lift_the_size(model: str, option: str, other: dict[str, object]) -> None:
    scenes, fabric = Scenes("val", length=1, size=(64, 96)), Fabric(accelerator="cpu", devices=1)
    score = (scenes, fabric, Data(name="scenes"), "the student")
    with pytest.raises(UserError, match=rf"cannot take an image of 64x96.*options\.{option}="):
        try_scoring(models.build(model, len(scenes.classes), **other), *score)
    lifted = {option: option == "dynamic_img_size"}
    try_scoring(models.build(model, len(scenes.classes), **other, **lifted), *score)


def test_a_wrong_feature_is_found_before_the_labels_are_read(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_, **__):
        raise AssertionError("the labels were read")

    for module in ("training.run", "training.rehearsal", "comparison.preparation", "comparison.sweep"):
        monkeypatch.setattr(f"segdistill.{module}.look_at_data", read)
    monkeypatch.setattr("segdistill.training.doctor.look", read)
    monkeypatch.setattr("segdistill.training.session.Session.class_pixels", read)
    monkeypatch.setattr("segdistill.comparison.sweep.open_optuna", lambda: None)
    words = ("terms.kd.on=hed",)
    wrong = "term 'kd', student: unknown feature of .* 'hed'"
    with pytest.raises(UserError, match=wrong):
        distill(tiny(*words), tmp_path / "run", console=console)
    with pytest.raises(UserError, match=wrong):
        examine(Session(tiny(*words)), console)
    with pytest.raises(UserError, match=wrong):
        compare(plan("quickstart", [*TINY, *words], "kd", "0"), tmp_path / "c", console=console)
    searched = search("quickstart", [*TINY, *words], ["terms.kd.weight=1..2"])
    with pytest.raises(UserError, match=wrong):
        sweep(searched, tmp_path / "s", trials=1, console=console)
    with pytest.raises(AssertionError, match="the labels were read"):
        distill(tiny(), tmp_path / "run", console=console)
