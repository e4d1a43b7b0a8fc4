"""Class names that both sides know: one order, whatever the files say, or an error with both lists."""

import json
import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from segdistill import models
from segdistill.data import Classes
from segdistill.distillation.features import FeatureReader
from segdistill.errors import UserError
from segdistill.evaluation.class_order import put_in_order
from segdistill.outputs import read_output
from segdistill.recipes.schema import Network, Teacher
from segdistill.training.build import build_network, build_teacher
from tests.networks import WithAux, small

RUN = ("sky", "road", "car")
HERE = Classes(("car", "sky", "road"))
TO_HERE = [2, 0, 1]
MODEL = "tests.networks:small"


class AuxiliaryFirst(WithAux):
    """Its auxiliary classifier runs before the main one, and is not called aux."""

    def __init__(self) -> None:
        super().__init__(3)
        self.zz = self.aux_classifier
        del self.aux_classifier
        self.roles = {"aux": "zz"}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.body(images)
        aux = self.zz(features)
        return {"out": self.classifier(features), "aux": aux}


class Summed(nn.Module):
    """Its scores are the sum of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.one(images) + self.two(images)


def saved(folder: Path, names: tuple[str, ...] = RUN) -> nn.Module:
    """Write a student with these classes as a run does, and return it."""
    torch.manual_seed(len(folder.name))
    network = small(len(names)).eval()
    models.save_student(network, folder, name=MODEL, num_classes=len(names), classes=names)
    return network


def scores(network: nn.Module) -> Tensor:
    images = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return read_output(network.eval()(images)).logits


@pytest.mark.parametrize("file", ["", "student.safetensors", "checkpoints/best.pt"])
@pytest.mark.parametrize("strict", [True, False])
def test_a_runs_scores_are_put_in_the_data_sets_order(tmp_path: Path, file: str, strict: bool, caplog) -> None:
    network = saved(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    torch.save({"student": network.state_dict()}, tmp_path / "checkpoints" / "best.pt")
    with caplog.at_level(logging.INFO):
        built = build_network(Network(model=MODEL, weights=str(tmp_path / file)), HERE, strict=strict)
    torch.testing.assert_close(scores(built), scores(network)[:, TO_HERE])
    assert "has the classes in another order, sky, road, car; its scores are reordered" in caplog.text


def test_the_same_order_in_other_letters_changes_nothing(tmp_path: Path, caplog) -> None:
    network = saved(tmp_path, ("Sky", "side_walk"))
    wanted = Classes(("sky", "side walk"))
    built = build_network(Network(model=MODEL, weights=str(tmp_path)), wanted, strict=True)
    assert torch.equal(scores(built), scores(network))
    assert "order" not in caplog.text


def test_each_of_several_teachers_is_put_in_order_and_so_are_their_features(tmp_path: Path) -> None:
    saved(tmp_path / "a", RUN)
    saved(tmp_path / "bb", ("road", "car", "sky"))
    recipe = {name: {"model": MODEL, "weights": str(tmp_path / name)} for name in ("a", "bb")}
    teacher = build_teacher(Teacher.model_validate({"members": recipe}), HERE)
    images = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        read = FeatureReader(teacher.eval(), ["a.logits", "bb.logits"], images)(images)
        one, two = (read_output(models.load(tmp_path / name, trust=True)(images)).logits for name in ("a", "bb"))
    torch.testing.assert_close(read["a.logits"], one[:, TO_HERE])
    torch.testing.assert_close(read["bb.logits"], two[:, [1, 2, 0]])


def test_other_names_are_an_error_that_shows_both_and_whose_remedy_works(tmp_path: Path) -> None:
    network = saved(tmp_path, ("heaven", "street", "auto"))
    with pytest.raises(UserError, match="heaven, street, auto; the data set: car, sky, road.*change them in its"):
        build_teacher(Teacher(model=MODEL, weights=str(tmp_path)), HERE)
    description = json.loads((tmp_path / "student.json").read_text())
    (tmp_path / "student.json").write_text(json.dumps({**description, "classes": list(RUN)}))
    built = build_teacher(Teacher(model=MODEL, weights=str(tmp_path)), HERE)
    torch.testing.assert_close(scores(built), scores(network)[:, TO_HERE])


def test_a_student_may_begin_with_what_was_learned_of_other_classes_and_it_is_said(tmp_path: Path, caplog) -> None:
    network = saved(tmp_path, ("heaven", "street", "auto"))
    with caplog.at_level(logging.INFO):
        built = build_network(Network(model=MODEL, weights=str(tmp_path)), HERE, strict=False)
    assert torch.equal(scores(built), scores(network))
    assert "was trained on other classes" in caplog.text


@pytest.mark.parametrize("names", [("class 0", "class 1", "class 2"), ()])
def test_made_up_names_and_none_are_not_compared(tmp_path: Path, names: tuple[str, ...]) -> None:
    network = saved(tmp_path, RUN)
    description = json.loads((tmp_path / "student.json").read_text())
    (tmp_path / "student.json").write_text(json.dumps({**description, "classes": names}))
    built = build_teacher(Teacher(model=MODEL, weights=str(tmp_path)), HERE)
    assert torch.equal(scores(built), scores(network))


def test_names_that_occur_twice_cannot_be_put_in_order() -> None:
    put_in_order(small(3), ("crane", "crane", "a"), ("crane", "crane", "a"), "it")
    with pytest.raises(UserError, match="other classes"):
        put_in_order(small(3), ("crane", "crane", "a"), ("a", "crane", "crane"), "it")


@pytest.mark.parametrize("make", [lambda: WithAux(3), AuxiliaryFirst])
def test_an_auxiliary_head_is_put_in_order_too(make) -> None:
    network = make().eval()
    images = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        before = read_output(network(images))
        put_in_order(network, RUN, HERE.names, "it")
        after = read_output(network(images))
    torch.testing.assert_close(after.logits, before.logits[:, TO_HERE])
    torch.testing.assert_close(after.aux, before.aux[:, TO_HERE])


def test_rows_that_were_not_loaded_stay() -> None:
    network = small(3)
    before = network.classify.weight.clone()
    put_in_order(network, RUN, HERE.names, "it", initial=("classify.weight", "classify.bias"))
    assert torch.equal(network.classify.weight, before)


def test_scores_of_more_than_one_layer_cannot_be_put_in_order() -> None:
    with pytest.raises(UserError, match="cannot be reordered.*list the data set's classes in the order of"):
        put_in_order(Summed(), RUN, HERE.names, "the student")
    put_in_order(Summed(), RUN, RUN, "the student")
