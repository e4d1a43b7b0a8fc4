import numpy as np
import pytest
import torch

from segdistill.data import Scenes, open_dataset, scan_labels
from segdistill.errors import UserError

RARE = ("pole", "sign", "person", "bicyclist")


def test_a_scene_depends_on_split_and_index_alone() -> None:
    first = Scenes("train")[5]
    np.random.seed(1)
    torch.manual_seed(1)
    again = Scenes("train", length=10)[5]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], Scenes("val")[5][0])
    assert not torch.equal(first[0], Scenes("train")[6][0])


def test_many_scenes_are_all_different() -> None:
    data = Scenes(size=(24, 32))
    assert len({data[i][0].numpy().tobytes() for i in range(60)}) == 60


def test_item() -> None:
    data = open_dataset("scenes", split="val")
    image, labels = data[0]
    assert (image.shape, image.dtype) == ((3, 96, 160), torch.uint8)
    assert (labels.shape, labels.dtype) == ((96, 160), torch.uint8)
    assert len(data) == 60
    assert data.name(7) == "val_00007"
    assert data.path(7) is None


@pytest.mark.parametrize("size", [(16, 16), (50, 33), (240, 100)])
def test_any_size(size: tuple[int, int]) -> None:
    image, labels = Scenes(size=size)[0]
    assert image.shape[1:] == labels.shape == size


def test_long_tail() -> None:
    data = Scenes(length=50)
    report = scan_labels(data)
    report.check()
    assert sum(report.pixels) + report.void == 50 * 96 * 160
    share = dict(zip(data.classes.names, np.array(report.pixels) / sum(report.pixels), strict=True))
    assert min(share.values()) > 0.001  # every class occurs in the first 50
    assert max(share[name] for name in RARE) < 0.025
    assert min(share[name] for name in ("building", "road")) > 0.2
    assert 0 < report.void / sum(report.pixels) < 0.06


def test_brightness_and_color_do_not_tell_the_class() -> None:
    """A classifier that knows every class's mean color is far from enough."""
    pixels, labels = (np.stack(part) for part in zip(*(Scenes().read(i) for i in range(40)), strict=True))
    means = np.stack([pixels[labels == c].mean(axis=0) for c in range(10)])
    distance = ((pixels[:, ::4, ::4, None] - means) ** 2).sum(-1)
    right = distance.argmin(-1) == labels[:, ::4, ::4]
    recall = [right[labels[:, ::4, ::4] == c].mean() for c in range(10)]
    assert np.mean(recall) < 0.4


def test_errors() -> None:
    with pytest.raises(UserError, match="unknown split 'trian'; did you mean 'train'"):
        Scenes("trian")
    with pytest.raises(UserError, match="at least 16x16 pixels, got 8x32"):
        Scenes(size=(8, 32))
    with pytest.raises(UserError, match="is generated but root"):
        open_dataset("scenes", "somewhere")
