"""What a run needs is made once: layouts are scanned, engines launched, images decoded, teachers scored."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import nn

from segdistill.comparison.compare import compare
from segdistill.comparison.plan import plan
from segdistill.data.datasets.image_files import MaskFiles
from segdistill.recipes import alone_recipe, load
from segdistill.recipes.schema import Evaluation
from segdistill.training import engine, session, teacher
from segdistill.training.run import distill
from segdistill.training.session import Session
from tests.tiny import TINY, tiny


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of noise with two classes: 6 train, 3 val, 3 test images."""
    numbers = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3), ("test", 3)):
        for index in range(count):
            for kind, values in (("images", (32, 40, 3)), ("labels", (32, 40))):
                path = tmp_path / "set" / kind / split / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                high = 256 if kind == "images" else 2
                Image.fromarray(numbers.integers(0, high, values).astype(np.uint8)).save(path)
    return tmp_path / "set"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count calls of what must happen once."""
    counts: Counter[str] = Counter()

    def count(module: ModuleType, name: str, label: Callable[..., str]) -> None:
        function = getattr(module, name)

        def counting(*args, **kwargs):
            counts[label(*args)] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, counting)

    count(session, "open_layout", lambda *_: "layout scanned")
    count(session, "launch", lambda *_: "engine launched")
    count(teacher, "evaluate", lambda _, images, *__: f"teacher scored on {images.split.name}")
    read = MaskFiles.read

    def reading(self: MaskFiles, index: int):
        counts[f"decoded {self.path(index).parent.name}/{self.path(index).name}"] += 1
        return read(self, index)

    monkeypatch.setattr(MaskFiles, "read", reading)
    return counts


def changes(root: Path) -> list[str]:
    small = [change for change in TINY if not change.startswith(("data.", "method"))]
    return [*small, "data.crop=[32,32]", f"data.root={root}", "data.cache=true", "student.options={}"]


def test_one_distill_makes_everything_once(root: Path, tmp_path: Path, console: Console, counted: Counter[str]) -> None:
    distill(load("folder", [*changes(root), "method=kd"]), tmp_path / "run", console=console)
    assert (tmp_path / "run" / "alone" / "result.json").exists()
    assert (tmp_path / "run" / "teacher" / "result.json").exists()
    assert {name: count for name, count in counted.items() if not name.startswith("decoded")} == {
        "layout scanned": 1,
        "engine launched": 1,
        "teacher scored on val": 1,  # on test its own run has scored it
    }
    decoded = {name: count for name, count in counted.items() if name.startswith("decoded")}
    assert len(decoded) == 12
    assert set(decoded.values()) == {1}


@pytest.mark.parametrize("cache", ["memmap", "device"])
def test_a_run_is_the_same_to_the_bit_however_its_images_are_kept(
    root: Path, tmp_path: Path, console: Console, counted: Counter[str], cache: str
) -> None:
    def run(name: str, *more: str) -> list[dict[str, Any]]:
        settings = [*changes(root), "method=kd", "baseline=false", "train.log_every=1", *more]
        distill(load("folder", settings), tmp_path / name, console=console)
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return [{key: value for key, value in json.loads(line).items() if key != "time"} for line in lines]

    plain = run("plain", "data.cache=false")
    counted.clear()
    kept = run("kept", f"data.cache={cache}", "data.workers=1")
    assert kept == plain
    decoded = {name: count for name, count in counted.items() if name.startswith("decoded")}
    assert len(decoded) == 12
    assert max(decoded.values()) <= 3  # at most twice by the rehearsal, and once for the cache
    counted.clear()
    if cache == "memmap":  # another run, another method: nothing is decoded
        run("another", "data.cache=memmap", "method=cwd")
        assert not [name for name in counted if name.startswith("decoded")]
    assert (root / "segdistill_cache").exists() == (cache == "memmap")


def test_a_comparison_scores_its_teacher_once(
    root: Path, tmp_path: Path, console: Console, counted: Counter[str]
) -> None:
    planned = plan("folder", changes(root), "kd,at,cwd", "0,1")
    compare(planned, tmp_path / "c", console=console)
    assert len(list((tmp_path / "c").glob("*-s?/result.json"))) == 8
    assert counted["teacher scored on val"] == 1
    assert counted["teacher scored on test"] == 0
    assert counted["layout scanned"] == counted["engine launched"] == 1
    assert max(count for name, count in counted.items() if name.startswith("decoded")) == 1


def test_variants_share_data_and_engine_but_no_student() -> None:
    opened = Session(tiny())
    other = opened.variant(alone_recipe(tiny("seed=1")))
    assert other.dataset("train") is opened.dataset("train")
    assert other.fabric is opened.fabric
    assert other.build_student() is not opened.build_student()
    assert opened.variant(tiny("data.images=[8,3,3]")).dataset("train") is not opened.dataset("train")
    assert opened.variant(tiny("train.precision=bf16-mixed")).fabric is not opened.fabric


def test_batch_normalization_of_student_and_losses_sees_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "has_several_gpus", lambda fabric: True)
    on = {"reviewkd": "[head]", "ofd": "[head]", "srrl": "head", "diffkd": "head", "knowledge_adaptation": "head"}
    recipe = tiny("method=none", *(f"terms.{name}={{loss: {name}, on: {feature}}}" for name, feature in on.items()))
    distiller = Session(recipe).build_trial()
    layers = {name: m for name, m in distiller.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    assert {type(layer) for layer in layers.values()} == {nn.SyncBatchNorm}
    assert {name.split(".")[1] for name in layers if name.startswith("terms.")} == on.keys()
    assert any(name.startswith("student.") for name in layers)
    learning = {id(parameter) for parameter in distiller.parameters()}
    assert {id(layer.weight) for layer in layers.values()} <= learning
    images = torch.randn(2, 3, *recipe.data.crop)
    distiller(images, torch.zeros(2, *recipe.data.crop, dtype=torch.long)).total.backward()


@pytest.mark.parametrize(("processes", "device", "expected"), [(1, "cuda", 0), (2, "cpu", 0), (2, "cuda", 1)])
def test_batch_normalization_is_synchronized_between_gpus(processes: int, device: str, expected: bool) -> None:
    fabric = SimpleNamespace(world_size=processes, device=torch.device(device))
    assert engine.has_several_gpus(fabric) == expected


def test_a_run_starts_with_the_first_loss_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    class Precision:
        scale = 65536.0

        def state_dict(self) -> dict[str, float]:
            return {"scale": self.scale}

        def load_state_dict(self, state: dict[str, float]) -> None:
            self.scale = state["scale"]

    opened = Session(tiny())
    precision = Precision()
    launch = engine.launch

    def launched(train):
        fabric = launch(train)
        monkeypatch.setattr(fabric.strategy, "_precision", precision)
        return fabric

    monkeypatch.setattr("segdistill.training.session.launch", launched)
    assert opened.fabric.strategy.precision is precision
    precision.scale = 2.0  # as a run leaves it
    opened.variant(tiny("seed=1")).reset_precision()
    assert precision.scale == 65536.0


def test_a_teacher_is_scored_again_under_another_protocol(root: Path, tmp_path: Path, console: Console) -> None:
    session = Session(tiny("teacher.train=null", "teacher.weights=null"))
    section = session.recipe.teacher.model_copy(update={"train": None})
    session.use_teacher(section)
    first = session.teacher()
    other = session.variant(session.recipe.model_copy(update={"evaluation": Evaluation(flip=True)}))
    assert session.variant(session.recipe).teacher() is first
    assert other.teacher() is not first
    assert other.teacher().protocol.flip
