"""Networks of smp with encoders of smp and timm."""

import re
from functools import reduce

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F

from segdistill import models
from segdistill.errors import UserError


def test_logits_are_those_of_smp_before_upsampling() -> None:
    ours = models.build("deeplabv3/tu-mobilenetv2_035", 6, decoder_channels=32).eval()
    theirs = smp.DeepLabV3("tu-mobilenetv2_035", encoder_weights=None, decoder_channels=32, classes=6).eval()
    theirs.load_state_dict(ours.state_dict())  # the same keys, so files go either way
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        logits = ours(images).logits
        assert logits.shape == (2, 6, 8, 12)
        upsampled = F.interpolate(logits, scale_factor=8, mode="bilinear", align_corners=True)
        torch.testing.assert_close(upsampled, theirs(images))


@pytest.mark.parametrize(
    ("name", "options", "stride", "stages"),
    [
        ("unet/resnet18", {}, 1, [4, 8, 16, 32]),
        ("fpn/mobilenet_v2", {}, 4, [4, 8, 16, 32]),
        ("segformer/resnet18", {}, 4, [4, 8, 16, 32]),
        ("pspnet/resnet18", {}, 8, [4, 8]),
        ("unet/tu-convnext_atto", {}, 1, [4, 8, 16, 32]),
        ("deeplabv3plus/resnet18", {"encoder_output_stride": 16}, 4, [4, 8, 16, 16]),
        ("dpt/tu-vit_tiny_patch16_224", {"dynamic_img_size": True}, 2, [16, 16, 16, 16]),
        ("linear/tu-vit_tiny_patch16_224", {}, 16, [16, 16, 16, 16]),
    ],
)
def test_stride_and_roles(name: str, options: dict[str, object], stride: int, stages: list[int]) -> None:
    with torch.device("meta"):  # shapes only
        network = models.build(name, 3, **options)
        network = getattr(network, "network", network)  # what converts images, where the encoder expects others
        images = torch.zeros(2, 3, 64, 64)
        assert network(images).logits.shape == (2, 3, 64 // stride, 64 // stride)
        features = network.encoder(images)
    taps = [tap for role, tap in network.roles.items() if role.startswith("stage")]
    items = [[int(item) for item in re.findall(r"\[(\d+)\]", tap)] for tap in taps]
    maps = [reduce(lambda value, item: value[item], each, features) for each in items]
    assert [64 // each.shape[-1] for each in maps] == stages
    assert network.roles["head"] == "segmentation_head:input"


@pytest.mark.parametrize(("name", "stride"), [("linknet/resnet18", 1), ("fpn/resnet18", 4)])
def test_sides_that_the_encoder_cannot_halve_are_padded_and_cropped(name: str, stride: int) -> None:
    network = models.build(name, 3).eval()
    images = torch.randn(1, 3, 90, 120)
    with torch.no_grad():
        logits = network(images).logits
        padded = network(F.pad(images, (0, 8, 0, 6))).logits  # 96 x 128, multiples of 32
    assert logits.shape[-2:] == (-(-90 // stride), 120 // stride)
    assert torch.equal(logits, padded[..., : logits.shape[-2], : logits.shape[-1]])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unet/resnt18", {}, "unknown encoder 'resnt18'; did you mean 'resnet18'?"),
        ("unet/mobilenetv2_035", {}, "did you mean 'tu-mobilenetv2_035'?"),
        ("unet/tu-convnext_atoo", {}, "did you mean 'tu-convnext_atto'?"),
        (
            "unet/resnet18",
            {"decoder_chanels": 8},
            "option of unet/resnet18 .*did you mean 'decoder_channels'?",
        ),
        ("unet/tu-resnet18", {"decoder_chanels": 8}, "cannot build unet/tu-resnet18 .*decoder_chanels"),
        (
            "unet/tu-resnet18",
            {"decoder_chanels": None},
            "unknown option of unet/tu-resnet18 .*did you mean 'decoder_channels'",
        ),
        ("unet/tu-resnet18", {"encoder_weights": "imagenet"}, "unknown option of unet/tu-resnet18"),
        ("deeplabv3/vgg16", {}, "cannot build deeplabv3/vgg16 with no options: .*dilated"),
    ],
)
def test_what_does_not_exist_or_go_together(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        models.build(name, 3, **options)
