"""Networks that classify whole images."""

import pytest
import torch

from segdistill import models
from segdistill.distillation.features import FeatureReader
from segdistill.errors import UserError


@pytest.mark.parametrize(("name", "millions"), [("resnet34", 21.798), ("resnet18", 11.690)])
def test_parameters_at_1000_classes_and_features(name: str, millions: float) -> None:
    with torch.device("meta"):
        network = models.build(name, 1000)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.001)
    reader = FeatureReader(models.build(name, 5), ["stage1", "stage4", "head"], torch.zeros(1, 3, 64, 64))
    shapes = {feature: tuple(shape) for feature, shape in reader.shapes.items()}
    assert shapes == {"stage1": (1, 64, 16, 16), "stage4": (1, 512, 2, 2), "head": (1, 512), "logits": (1, 5)}


def test_an_option_is_refused() -> None:
    with pytest.raises(UserError, match="option of resnet18"):
        models.build("resnet18", 5, encoder="resnet34")
