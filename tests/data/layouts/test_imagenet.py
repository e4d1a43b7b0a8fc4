from pathlib import Path

import numpy as np
import pytest
import torch

from segdistill.data import (
    TrainingStream,
    classification_evaluation_transform,
    classification_training_transform,
    evaluation_loader,
    open_dataset,
    open_layout,
    training_loader,
)
from segdistill.errors import UserError

CLASSES = ("n01440764", "n01443537", "n01484850")


@pytest.fixture
def root(tmp_path: Path, write) -> Path:
    """Three classes, two images to train on and one to validate; image ``j`` of class ``i`` is ``10 i + j`` gray."""
    root = tmp_path / "ILSVRC/Data/CLS-LOC"
    for index, name in reversed(list(enumerate(CLASSES))):
        for image in range(2):
            write(root / f"train/{name}/{name}_{image}.JPEG", np.full((40, 60, 3), 10 * index + image, np.uint8))
        write(root / f"val/{name}/ILSVRC2012_val_0000000{index}.JPEG", np.full((60, 40, 3), index, np.uint8))
    (root / "train/.DS_Store").write_text("")
    (root / "train" / CLASSES[0] / "notes.txt").write_text("")
    return root


def test_the_sorted_folders_are_the_classes(root: Path) -> None:
    layout = open_layout("imagenet", root)
    assert layout.task == "classification"
    assert layout.classes.names == CLASSES
    assert [len(split.images) for split in layout.splits] == [6, 3]
    assert layout.split("train").labels == ()
    data = open_dataset("imagenet", root)
    assert data.task == "classification"
    assert [data.label(i) for i in range(6)] == [0, 0, 1, 1, 2, 2]
    assert data.name(5) == "n01484850_1"
    assert data.path(5) == root / "train/n01484850/n01484850_1.JPEG"


def test_item(root: Path) -> None:
    image, label = open_dataset("imagenet", root)[5]
    assert (image.shape, image.dtype) == ((3, 40, 60), torch.uint8)
    assert image.unique().tolist() == [21]
    assert (label.shape, label.dtype, int(label)) == ((), torch.int64, 2)
    assert open_dataset("imagenet", root, "val", scale=0.5, cache=True)[0][0].shape == (3, 30, 20)


def test_loaders_yield_class_indices(root: Path) -> None:
    stream = TrainingStream(open_dataset("imagenet", root), classification_training_transform((24, 32)), seed=0)
    batches = list(training_loader(stream, 4, steps=3))
    for step, (images, labels) in enumerate(batches):
        assert (images.shape, images.dtype) == ((4, 3, 24, 32), torch.float32)
        assert (labels.shape, labels.dtype) == ((4,), torch.int64)
        assert labels.tolist() == [stream.index(4 * step + place) // 2 for place in range(4)]
    val = open_dataset("imagenet", root, "val")
    seen = list(evaluation_loader(val, classification_evaluation_transform((24, 24)), batch_size=2))
    assert [images.shape for images, _ in seen] == [(2, 3, 24, 24), (1, 3, 24, 24)]
    assert torch.cat([labels for _, labels in seen]).tolist() == [0, 1, 2]


def test_damaged_image_is_named(root: Path) -> None:
    (root / "train/n01440764/n01440764_0.JPEG").write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot read '.*n01440764_0\.JPEG'"):
        open_dataset("imagenet", root)[0]


def test_validation_images_without_folders(root: Path) -> None:
    for path in list((root / "val").rglob("*.JPEG")):
        path.rename(root / "val" / path.name)
    for name in CLASSES:
        (root / "val" / name).rmdir()
    with pytest.raises(UserError, match=r"val' holds no class folders but .*00000000\.JPEG, .*; move each"):
        open_layout("imagenet", root)


def test_classes_that_differ(root: Path) -> None:
    (root / "val/n01443537").rename(root / "val/goldfish")
    with pytest.raises(UserError, match=r"val' has class folders that '.*train' lacks: goldfish;"):
        open_layout("imagenet", root)


def test_class_without_images(root: Path) -> None:
    for path in (root / "train/n01443537").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"no images in '.*train/n01443537'; expected files \.bmp, "):
        open_layout("imagenet", root)


def test_one_class_is_none(root: Path) -> None:
    for name in CLASSES[1:]:
        (root / "train" / name).rename(root / name)
    with pytest.raises(UserError, match=r"train' holds 1 class folder; expected at least 2"):
        open_layout("imagenet", root)


def test_where_the_archive_puts_it(root: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "ILSVRC"):
        with pytest.raises(UserError, match=rf"did you mean '{root}'\?"):
            open_layout("imagenet", folder)


# The two transforms


def ramp(height: int, width: int) -> np.ndarray:
    return np.broadcast_to(np.arange(width, dtype=np.uint8)[None, :, None], (height, width, 3)).copy()


def test_evaluation_takes_the_centre_at_256_of_224(root: Path, write) -> None:
    write(root / "val/n01440764/ILSVRC2012_val_00000000.JPEG", np.zeros((512, 768, 3), np.uint8))
    write(root / "val/n01443537/ILSVRC2012_val_00000001.png", ramp(256, 256))
    (root / "val/n01443537/ILSVRC2012_val_00000001.JPEG").unlink()
    transform = classification_evaluation_transform((224, 224))
    val = open_dataset("imagenet", root, "val")
    assert transform(*val[0])[0].shape == (3, 224, 224)
    image, label = transform(*val[1])  # 256 pixels wide already, so columns 16 .. 239 as they are
    assert torch.allclose(image[0, 0] * 0.229 + 0.485, torch.arange(16, 240) / 255, atol=1e-6)
    assert int(label) == 1


def test_training_keeps_a_part_of_the_area_and_flips(root: Path, write) -> None:
    path = root / "train/n01440764/n01440764_0.JPEG"
    path.unlink()
    write(path.with_suffix(".png"), ramp(64, 64) * 4)
    sample = open_dataset("imagenet", root)[0]
    transform = classification_training_transform((16, 16), areas=(0.25, 0.25))
    torch.manual_seed(0)
    flipped, spans = 0, []
    for _ in range(100):
        row = transform(*sample)[0][0, 0]
        flipped += bool(row[0] > row[-1])
        spans.append(float((row[0] - row[-1]).abs()) * 0.229 * 255 / 4 * 16 / 15)
    assert 30 < flipped < 70
    # A quarter of the area is half the width, times the root of an aspect ratio in 3/4 .. 4/3.
    assert 26 < min(spans) < 30
    assert 34 < max(spans) < 39
