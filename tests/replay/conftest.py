"""A small record: 3 images of 2 crops, 2 features."""

from contextlib import closing
from pathlib import Path

import pytest
import torch

from segdistill.replay.answers import mark
from segdistill.replay.folder import RecordFolder, Recording

KEY = {"crops": 2, "type": "int8"}


@pytest.fixture
def crops() -> torch.Tensor:
    return torch.randn(3, 2, 3, 16, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def features() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "logits": torch.randn(3, 2, 4, 2, 3, generator=generator),
        "stage4:pre": torch.randn(3, 2, 5, 4, 6, generator=generator),
    }


@pytest.fixture
def folder(tmp_path: Path, crops: torch.Tensor, features: dict[str, torch.Tensor]) -> RecordFolder:
    folder = RecordFolder(tmp_path, KEY, 3)
    write(folder, crops, features)
    return folder


def write(folder: RecordFolder, crops: torch.Tensor, features: dict[str, torch.Tensor]) -> None:
    shapes = {name: tuple(feature.shape[2:]) for name, feature in features.items()}
    Recording.prepare(folder, shapes)
    with closing(Recording(folder, shapes)) as recording:
        for image in (2, 0, 1):
            rows = {name: recording.rows[name].packed(feature[image]) for name, feature in features.items()}
            recording.write(image, rows, torch.stack([mark(crop) for crop in crops[image]]).numpy())
        recording.flush()
        recording.finish()
