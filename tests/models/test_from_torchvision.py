"""torchvision's networks by name: the outputs and features of torchvision's own, at the strides that the roles say."""

import pytest
import torch
import torchvision

from segdistill.distillation.features import FeatureReader
from segdistill.errors import UserError
from segdistill.models import build, load_weights
from segdistill.models.names import TORCHVISION, check_name
from segdistill.outputs import aligns_corners


def test_the_list_is_torchvisions() -> None:
    assert set(TORCHVISION) == set(torchvision.models.list_models(module=torchvision.models.segmentation))


@pytest.mark.parametrize("name", [name for name in TORCHVISION if "resnet101" not in name])
def test_logits_and_stages(name: str, tmp_path) -> None:
    torch.manual_seed(0)
    original = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=3).eval()
    torch.save(original.state_dict(), tmp_path / "weights.pth")
    network = build(f"torchvision/{name}", 3).eval()
    load_weights(network, tmp_path / "weights.pth", strict=True)
    images = torch.randn(1, 3, 64, 96)
    names = [f"stage{number}" for number in (1, 2, 3, 4)]
    features = FeatureReader(network, [*names, "head"], torch.zeros(1, 3, 64, 96))(images)
    torch.testing.assert_close(features["logits"], original(images)["out"])
    last = 8 if "resnet" in name else 16
    strides = [64 // features[each].shape[2] for each in names]
    assert strides == [4, 8, min(16, last), min(32, last)]
    torch.testing.assert_close(features["stage4"], original.backbone(images)["out" if "lraspp" not in name else "high"])
    assert not aligns_corners(network)


def test_an_auxiliary_head() -> None:
    network = build("torchvision/fcn_resnet50", 3, aux_loss=True).eval()
    features = FeatureReader(network, ["aux"], torch.zeros(1, 3, 64, 64))(torch.randn(1, 3, 64, 64))
    assert features["aux"].shape == (1, 3, 64, 64)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("torchvision/deeplabv3_resnet5", {}, "unknown network of torchvision 'deeplabv3_resnet5'; did you mean"),
        ("torchvison/fcn_resnet50", {}, "unknown architecture 'torchvison'; did you mean 'torchvision'"),
        ("torchvision/fcn_resnet50", {"aux": True}, "unknown option of torchvision/fcn_resnet50 'aux'"),
        ("torchvision/fcn_resnet50", {"weights": "DEFAULT"}, "weights file DEFAULT does not exist"),
    ],
)
def test_mistakes(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(name, 3, **options)


def test_names_are_checked_without_torchvision() -> None:
    check_name("torchvision/lraspp_mobilenet_v3_large")
