"""The crops of a replay and the order in which a run draws them."""

import pytest
import torch

from segdistill.data import Scenes, training_transform
from segdistill.replay.crops import Crops, ReplayStream


@pytest.fixture
def crops() -> Crops:
    return Crops(Scenes("train", size=(32, 48), length=5), training_transform((24, 24)), 3)


def test_a_crop_depends_on_image_and_number_alone(crops: Crops) -> None:
    again = Crops(crops.dataset, crops.transform, 5)  # with more crops, the first are the same
    torch.manual_seed(7)
    state = torch.get_rng_state()
    for index in range(5):
        images, labels = crops[index]
        for k in range(3):
            image, target = again.crop(index, k)
            assert torch.equal(images[k], image)
            assert torch.equal(labels[k], target)
    assert torch.equal(torch.get_rng_state(), state)


def test_crops_differ(crops: Crops) -> None:
    all_crops = torch.cat([crops[index][0] for index in range(5)])
    assert len(torch.unique(all_crops.flatten(1), dim=0)) == 15


def test_every_crop_is_drawn_once_in_k_passes(crops: Crops) -> None:
    stream = ReplayStream(crops, seed=4)
    for first in (0, 15):
        drawn = [stream.drawn(position) for position in range(first, first + 15)]
        assert sorted(drawn) == [(index, k) for index in range(5) for k in range(3)]
        for place in range(0, 15, 5):  # each pass has each image once
            assert sorted(index for index, _ in drawn[place : place + 5]) == list(range(5))


def test_images_come_in_the_order_of_the_run(crops: Crops) -> None:
    stream = ReplayStream(crops, seed=4)
    assert [stream.drawn(position)[0] for position in range(20)] == [stream.index(position) for position in range(20)]
    image, labels = stream[13]
    expected = crops.crop(*stream.drawn(13))
    assert torch.equal(image, expected[0])
    assert torch.equal(labels, expected[1])


def test_seeds_draw_the_same_crops_in_another_order(crops: Crops) -> None:
    orders = {tuple(ReplayStream(crops, seed).drawn(position) for position in range(30)) for seed in range(4)}
    assert len(orders) == 4
    # the second K passes have another order too
    stream = ReplayStream(crops, seed=0)
    numbers = [
        [k for position in range(60) if (drawn := stream.drawn(position))[0] == i for k in drawn[1:]] for i in range(5)
    ]
    assert any(each[:3] != each[3:6] for each in numbers)
