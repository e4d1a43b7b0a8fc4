"""Images on which networks differ most."""

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from segdistill.data import Scenes
from segdistill.evaluation.changed_images import change, image_score, most_changed
from segdistill.recipes import load
from segdistill.recipes.schema import Evaluation
from tests.tiny import tiny


def test_the_score_of_an_image_by_hand() -> None:
    labels = np.array([[0, 0, 0, 1], [1, 255, 255, 255]], np.uint8)
    predicted = np.array([[0, 0, 1, 1], [2, 7, 7, 7]], np.uint8)
    # class 0: 2 of 3; class 1: 1 of 3 (one missed, one too many); class 2 is not in the labels; void does not count
    assert image_score(predicted, labels, 255) == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert image_score(predicted, np.full_like(labels, 255), 255) is None


def test_change_is_the_range_of_the_scores() -> None:
    assert change([0.5, 0.2, None, 0.4]) == pytest.approx(0.3)
    assert change([0.25]) == 0.75
    assert change([None, None]) == 0


class Constant(nn.Module):
    """Predicts one class for every pixel; of bright images another."""

    def __init__(self, index: int, bright: int) -> None:
        super().__init__()
        self.index, self.bright = index, bright

    def forward(self, images: Tensor) -> Tensor:
        logits = torch.zeros(len(images), 10, *images.shape[-2:])
        logits[:, self.bright if images.mean() > 0 else self.index] = 1
        return logits


def test_the_most_changed_come_first_and_a_teacher_does_not_count() -> None:
    dataset = Scenes("test", size=(32, 48), length=9, native_labels=True)
    recipe = tiny()
    networks = {"student alone": Constant(0, 0), "kd": Constant(0, 2), "teacher": Constant(5, 5)}
    fabric = Fabric(accelerator="cpu")

    def found(**more):
        return most_changed(
            networks, dataset, fabric, recipe.data, Evaluation(), students=["student alone", "kd"], **more
        )

    scenes = found(kept=9)
    assert len({scene.name for scene in scenes}) == 9
    changes = [abs(scene.scores["kd"] - scene.scores["student alone"]) for scene in scenes]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > changes[-1]
    assert [scene.name for scene in found(kept=2, reference="kd")] == [scene.name for scene in scenes[:2]]
    assert found(kept=2, reference="kd")[0].reference == "kd"
    assert len(found(looked_at=4)) == 4
    first = scenes[0]
    assert (first.predicted["teacher"] == 5).all()
    index = next(i for i in range(9) if dataset.name(i) == first.name)
    assert (first.image == dataset[index][0].permute(1, 2, 0).numpy()).all()
    assert (first.truth == dataset[index][1].numpy()).all()
    assert first.scores["student alone"] == image_score(first.predicted["student alone"], first.truth, 255)


def test_networks_keep_their_mode() -> None:
    network = Constant(0, 1).train()
    dataset = Scenes("test", size=(32, 48), length=2, native_labels=True)
    data = load("quickstart").data
    most_changed({"a": network}, dataset, Fabric(accelerator="cpu"), data, Evaluation(), students=["a"])
    assert network.training
