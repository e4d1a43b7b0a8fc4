"""Normalization by table, against the operations that it replaces."""

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from segdistill.data import evaluation_transform
from segdistill.data.normalizing import MEAN, STD, normalized

DTYPES = {tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}
PLAIN = v2.Compose([v2.ToDtype(DTYPES, scale=True), v2.Normalize(MEAN, STD), v2.ToPureTensor()])


def levels(channels_last: bool) -> Tensor:
    """All levels of all channels, in an order that no vector width divides."""
    image = torch.arange(3 * 7 * 37).remainder(256).to(torch.uint8)
    return image.view(7, 37, 3).permute(2, 0, 1) if channels_last else image.view(3, 7, 37)


VIEWS = {
    "contiguous": lambda: levels(False),
    "channels last": lambda: levels(True),
    "a crop": lambda: levels(True)[:, 1:6, 3:30],
    "a crop of planes": lambda: levels(False)[:, 1:6, 3:30],
    "mirrored": lambda: levels(True).flip(-1),
    "one pixel": lambda: levels(False)[:, :1, :1],
}


@pytest.mark.parametrize("view", VIEWS)
def test_values_and_strides_are_those_of_the_operations(view: str) -> None:
    image = VIEWS[view]()
    before = image.clone()
    expected, found = PLAIN(tv_tensors.Image(image)), evaluation_transform()(tv_tensors.Image(image))
    assert type(found) is Tensor
    assert (found.dtype, found.stride()) == (torch.float32, expected.stride())
    assert torch.equal(found, expected)
    assert torch.equal(image, before)


def test_by_hand() -> None:
    found = normalized(torch.tensor([255, 0, 51], dtype=torch.uint8).view(3, 1, 1)).flatten().tolist()
    assert found == pytest.approx([(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225])


def test_images_that_are_float_already() -> None:
    image = tv_tensors.Image(levels(False).float() / 255)
    assert torch.equal(evaluation_transform()(image), PLAIN(image))


def test_masks_become_int64_and_classes_stay() -> None:
    image, mask = tv_tensors.Image(levels(False)), tv_tensors.Mask(levels(False)[0])
    found, labels = evaluation_transform()(image, mask)
    assert type(labels) is Tensor
    assert torch.equal(labels, mask.long())
    label = torch.tensor(7)
    _, found = evaluation_transform()(image, label)
    assert found is label
