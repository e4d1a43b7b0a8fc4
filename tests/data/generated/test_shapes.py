import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segdistill.data import (
    Shapes,
    TrainingStream,
    classification_evaluation_transform,
    classification_training_transform,
    evaluation_loader,
    open_dataset,
    training_loader,
)
from segdistill.errors import UserError


def test_a_picture_depends_on_split_and_index_alone() -> None:
    first = Shapes("train")[5]
    np.random.seed(1)
    again = Shapes("train", length=10)[5]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], Shapes("val")[5][0])
    assert not torch.equal(first[0], Shapes("train")[11][0])


def test_item() -> None:
    data = open_dataset("shapes", split="val")
    image, label = data[7]
    assert (image.shape, image.dtype) == ((3, 32, 32), torch.uint8)
    assert (label.shape, label.dtype, int(label)) == ((), torch.int64, 1)
    assert (len(data), data.name(7), data.path(7), data.task) == (120, "val_00007", None, "classification")
    assert data.classes.names[1] == "ring"


@pytest.mark.parametrize("size", [(16, 16), (50, 33), (40, 100)])
def test_any_size_holds_every_shape_whole(size: tuple[int, int]) -> None:
    data = Shapes(length=6, size=size)
    for index in range(6):
        pixels = data.read_image(index).astype(int)
        assert pixels.shape == (*size, 3)
        ground = np.median(np.concatenate([pixels[0], pixels[-1]]), axis=0)
        inked = (pixels - ground > 45).all(-1)
        assert 0.02 < inked.mean() < 0.6
        edge = np.concatenate([inked[0], inked[-1], inked[:, 0], inked[:, -1]])
        assert edge.mean() < 0.2


def test_color_does_not_tell_the_class() -> None:
    data = Shapes()
    colors = np.stack([data.read_image(i).mean(axis=(0, 1)) for i in range(600)])
    labels = np.array([data.label(i) for i in range(600)])
    means = np.stack([colors[labels == c].mean(axis=0) for c in range(6)])
    nearest = ((colors[:, None] - means) ** 2).sum(-1).argmin(1)
    assert (nearest == labels).mean() < 0.3


def test_a_small_network_learns_it() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    network = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 6))
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    stream = TrainingStream(Shapes(cache=True), classification_training_transform((32, 32), areas=(0.5, 1)), seed=0)
    for images, labels in training_loader(stream, 32, steps=100):
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
    network.eval()
    loader = evaluation_loader(Shapes("val"), classification_evaluation_transform((32, 32)), batch_size=60)
    with torch.no_grad():
        right = torch.cat([network(images).argmax(1) == labels for images, labels in loader])
    assert right.float().mean() > 0.8


def test_errors() -> None:
    with pytest.raises(UserError, match="unknown split 'trian'; did you mean 'train'"):
        open_dataset("shapes", split="trian")
    with pytest.raises(UserError, match="unknown split 'tset'; did you mean 'test'"):
        Shapes("tset")
    with pytest.raises(UserError, match="at least 16x16 pixels, got 8x32"):
        Shapes(size=(8, 32))
    with pytest.raises(UserError, match="is generated but root"):
        open_dataset("shapes", "somewhere")
