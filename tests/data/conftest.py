"""Tiny datasets on disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).resolve().parents[2].parent / "shared"

Write = Callable[..., Path]


@pytest.fixture
def write() -> Write:
    """Write an array (or one value, 6 high and 8 wide) as an image file, its folders included."""

    def write_image(path: Path, values: object = 0, size: tuple[int, int] = (6, 8)) -> Path:
        array = np.asarray(values, dtype=getattr(values, "dtype", np.uint8))
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.broadcast_to(array, size).copy() if array.ndim == 0 else array).save(path)
        return path

    return write_image


@pytest.fixture
def folder(tmp_path: Path, write: Write) -> Path:
    """A ``folder`` of 3 train and 2 val images; the labels of image ``i`` are all ``i``, the val ones 0."""
    root = tmp_path / "set"
    for split, count in (("train", 3), ("val", 2)):
        for i in range(count):
            write(root / "images" / split / "town" / f"{split}{i}.png", np.full((6, 8, 3), 10 * i, np.uint8))
            write(root / "labels" / split / "town" / f"{split}{i}.png", i if split == "train" else 0)
    return root


@pytest.fixture
def camvid(tmp_path: Path, write: Write) -> Path:
    """CamVid's layout: 2 train, 1 val, 1 test; labels 0..11 in order, 11 = void."""
    root = tmp_path / "CamVid"
    for split, stems in (("train", ("b", "a")), ("val", ("c",)), ("test", ("d",))):
        for stem in stems:
            write(root / split / f"{stem}.webp", np.full((3, 4, 3), 128, np.uint8))
            write(root / f"{split}annot" / f"{stem}.png", np.arange(12, dtype=np.uint8).reshape(3, 4))
    return root


@pytest.fixture
def shared() -> Path:
    """Real files beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"no real files at {SHARED}")
    return SHARED
