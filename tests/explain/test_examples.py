"""Images to explain, from files and from a data set."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from segdistill.data import Scenes, evaluation_transform
from segdistill.explain.examples import Example, dataset_examples, file_examples


class Brightest(nn.Module):
    """Predicts the brightest color channel; in training mode, always the first."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        return images + torch.tensor([1e6 * self.training, 0, 0]).view(3, 1, 1)


def test_of_files_with_the_predictions_of_a_network(tmp_path: Path) -> None:
    pixels = np.zeros((6, 8, 3), np.uint8)
    pixels[:, :4, 2], pixels[:, 4:, 1] = 255, 255
    Image.fromarray(pixels).save(tmp_path / "a b.png")
    network = Brightest().train()
    (found,) = file_examples([tmp_path / "a b.png"], evaluation_transform(), network, (), scale=0.5, source="the net")
    assert network.training
    assert (found.name, found.stem, found.source) == ("a b", "a_b", "the net")
    assert found.image.shape == (1, 3, 3, 4)
    assert found.labels.shape == (1, 6, 8)
    assert found.labels[0, 0].tolist() == [2, 2, 2, 2, 1, 1, 1, 1]
    assert found.pixels().shape == (6, 8, 3)
    assert found.pixels()[0, 0].tolist() == [0, 0, 255]


def test_of_a_data_set_evenly() -> None:
    dataset = Scenes("val", size=(16, 24), length=5)
    found = dataset_examples(dataset, evaluation_transform(), 3)
    assert [each.name for each in found] == [dataset.name(index) for index in (0, 2, 4)]
    assert torch.equal(found[1].labels[0], dataset[2][1].long())
    assert len(dataset_examples(dataset, evaluation_transform(), 9)) == 5


def test_a_name_is_part_of_a_file_name() -> None:
    assert Example("../x/y z.png", torch.zeros(1), torch.zeros(1), "").stem == "x_y_z.png"
    assert Example("//", torch.zeros(1), torch.zeros(1), "").stem == "image"
