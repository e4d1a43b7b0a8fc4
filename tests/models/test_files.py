"""A student's file: gives the same network back, and says what is missing."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from segdistill import models
from segdistill.errors import UserError

NAME = "deeplabv3/tu-mobilenetv2_035"
OPTIONS = {"decoder_channels": 16}


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, num_classes, 1)
        self.twin = self.conv  # two names for one tensor

    def forward(self, images: Tensor) -> Tensor:
        return self.twin(self.conv(images))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    network = models.build(NAME, 3, **OPTIONS)
    network(torch.randn(2, 3, 64, 64))  # so that the batch norm statistics are not the initial ones
    folder = tmp_path_factory.mktemp("run")
    models.save_student(
        network,
        folder,
        name=NAME,
        num_classes=3,
        options=OPTIONS,
        classes=["a", "b", "c"],
        extra={"miou": 0.5},
    )
    return network.eval(), folder


@pytest.fixture
def network(student: tuple[nn.Module, Path]) -> nn.Module:
    return student[0]


@pytest.fixture
def folder(student: tuple[nn.Module, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(student[1], tmp_path, dirs_exist_ok=True))


@pytest.mark.parametrize("which", ["", "student.safetensors", "student.json"])
def test_round_trip(folder: Path, network: nn.Module, which: str) -> None:
    loaded, description = models.load(folder / which), models.read_description(folder / which)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(images).logits, network(images).logits)
    assert not loaded.training
    assert description == {
        "model": NAME,
        "num_classes": 3,
        "options": OPTIONS,
        "classes": ["a", "b", "c"],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "network_mean": [0.485, 0.456, 0.406],
        "network_std": [0.229, 0.224, 0.225],
        "align_corners": True,
        "miou": 0.5,
    }


def test_names_are_readable_in_the_file(network: nn.Module, tmp_path: Path) -> None:
    names = ["道路", "Straße", "\udcff"]  # the last one is a byte of a file's name that is no UTF-8
    models.save_student(network, tmp_path, name=NAME, num_classes=3, options=OPTIONS, classes=names)
    written = (tmp_path / "student.json").read_text(encoding="utf-8")
    assert all(f'"{name}"' in written for name in ("道路", "Straße", r"\udcff"))
    assert models.read_description(tmp_path)["classes"] == names


def test_the_folder_holds_the_two_files_only(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"student.json", "student.safetensors"}


def test_a_failed_save_leaves_the_old_files(folder: Path, network: nn.Module) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TypeError):
        models.save_student(network, folder, name=NAME, num_classes=3, extra={"x": object()})
    assert {path: path.read_bytes() for path in before} == before


def test_a_wrapped_module_is_saved_under_its_own_keys(tmp_path: Path) -> None:
    name = f"{__name__}:Net"
    network = models.build(name, 3).eval()
    models.save_student(network, tmp_path, name=name, num_classes=3)
    Net(3).load_state_dict(load_file(tmp_path / "student.safetensors"))  # strict: without this package
    images = torch.randn(1, 3, 8, 8)
    assert torch.equal(models.load(tmp_path, trust=True)(images).logits, network(images).logits)


def test_what_is_missing_or_corrupt(folder: Path) -> None:
    description, weights = folder / "student.json", folder / "student.safetensors"
    spec = json.loads(description.read_text())

    def refuse(message: str) -> None:
        with pytest.raises(UserError, match=message):
            models.load(folder)

    description.write_text(json.dumps({**spec, "num_classes": 4, "classes": list("abcd")}))
    refuse("4x16x1x1.*another number of classes")
    description.write_text("{")
    refuse("is not JSON; in a run's folder, delete this file and result.json")
    description.write_text("{}")
    refuse("is not a student's description: it has no 'model'")
    description.write_text(json.dumps(spec))
    weights.unlink()
    refuse("student.safetensors does not exist")
    description.unlink()
    refuse("student.json does not exist")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model": 3}, "'model' must be a name, got 3"),
        ({"num_classes": "3"}, "'num_classes' must be a whole number"),
        ({"num_classes": True}, "'num_classes' must be a whole number"),
        ({"num_classes": 0}, "'num_classes' must be a whole number, 1 or more, got 0"),
        ({"options": []}, "'options' must be keys with values"),
        ({"options": {"decoder_channels": [1]}}, "cannot build deeplabv3"),
        ({"model": "deeplabv3_resnet18", "options": {"encoder": [1]}}, "describes a network that cannot be built"),
        ({"classes": "abc"}, "'classes' must be a list of names"),
        ({"classes": ["a", "b", 3]}, "'classes' must be a list of names"),
        ({"classes": ["a", "b"]}, "there are 3 classes, but 2 names and 0 colors"),
        ({"palette": {}}, "'palette' must be a list of"),
        ({"palette": [[0, 0, 0]]}, "there are 3 classes, but 3 names and 1 colors"),
        ({"palette": [[0, 0, 256]] * 3}, "'palette' must be a list of"),
        ({"palette": [0, 1, 2]}, "'palette' must be a list of"),
        ({"mean": None}, "'mean' must be three numbers"),
        ({"std": [1, 2]}, "'std' must be three numbers"),
        ({"scale": "half"}, "'scale' must be a number above 0"),
        ({"scale": float("nan")}, "'scale' must be a number above 0"),
        ({"short_side": 0}, "'short_side' must be a whole number, 1 or more, got 0"),
        ({"short_side": None}, "'short_side' must be a whole number"),
        ({"window": [8]}, "'window' must be a height and a width, 1 or more"),
        ({"window": [8, 0]}, "'window' must be a height and a width, 1 or more"),
        ({"stride": 8}, "'stride' must be a height and a width, 1 or more"),
    ],
)
def test_each_field_of_a_wrong_kind_is_named(folder: Path, change: dict[str, object], expected: str) -> None:
    description = folder / "student.json"
    description.write_text(json.dumps({**json.loads(description.read_text()), **change}))
    with pytest.raises(UserError, match=rf"student.json.*{expected}"):
        models.load(folder)


@pytest.mark.parametrize("content", ["null", "[]", "3", "[" * 100_000, "\xff"])
def test_what_is_no_description_at_all(folder: Path, content: str) -> None:
    (folder / "student.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"student.json is not"):
        models.load(folder)
