"""The papers' networks: as many parameters as published, logits at the stride, features where they say."""

import re

import pytest
import torch
from torch import Tensor, nn

from segdistill import models
from segdistill.errors import UserError
from segdistill.outputs import SegOutput

# Millions of parameters: GSKD table 1 (SegFormer: counted at 19 classes from CIRKD's code), AICSD table 1.
MILLIONS = {
    "deeplabv3_resnet101": (61.1, 0.01),
    "deeplabv3_resnet18": (13.6, 0.01),
    "deeplabv3_mobilenetv2": (3.233, 0.001),
    "pspnet_resnet18": (12.9, 0.01),
    "deeplabv3plus_resnet101": (59.3, 0.015),
    "deeplabv3plus_resnet18": (16.6, 0.015),
    "deeplabv3plus_mobilenetv2": (5.9, 0.015),
    "segformer_b4": (64.008, 0.001),
    "segformer_b0": (3.719, 0.001),
}
# Stride of the logits; (channels, stride) of stage1 .. stage4 and head; whether there is an auxiliary head.
RESNET18 = [(64, 4), (128, 8), (256, 8), (512, 8)]
RESNET101 = [(256, 4), (512, 8), (1024, 8), (2048, 8)]
MOBILENET = [(24, 4), (32, 8), (96, 8), (320, 8)]
SHAPES = {
    "deeplabv3_resnet101": (8, [*RESNET101, (256, 8)], True),
    "deeplabv3_resnet18": (8, [*RESNET18, (128, 8)], True),
    "deeplabv3_mobilenetv2": (8, [*MOBILENET, (128, 8)], False),
    "pspnet_resnet18": (8, [*RESNET18, (128, 8)], True),
    "deeplabv3plus_resnet101": (4, [(256, 4), (512, 8), (1024, 16), (2048, 16), (256, 4)], False),
    "deeplabv3plus_resnet18": (4, [(64, 4), (128, 8), (256, 16), (512, 16), (256, 4)], False),
    "deeplabv3plus_mobilenetv2": (4, [(24, 4), (32, 8), (96, 16), (320, 16), (256, 4)], False),
    "segformer_b4": (4, [(64, 4), (128, 8), (320, 16), (512, 32), (768, 4)], False),
    "segformer_b0": (4, [(32, 4), (64, 8), (160, 16), (256, 32), (256, 4)], False),
}
SIDE = 64


def test_the_tables_cover_every_name() -> None:
    assert set(MILLIONS) == set(SHAPES) == set(models.names()) - {"resnet34", "resnet18"}


@pytest.mark.parametrize("name", MILLIONS)
def test_parameters_as_published(name: str) -> None:
    with torch.device("meta"):
        network = models.build(name, 19)
    expected, tolerance = MILLIONS[name]
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(expected, rel=tolerance)


def read_roles(network: nn.Module, images: Tensor) -> tuple[SegOutput, dict[str, Tensor]]:
    """Run the network once and keep what its roles point to; independent of segdistill.distillation.features."""
    found: dict[str, Tensor] = {}
    handles = []
    for role, tap in network.roles.items():
        path, is_input, item = re.fullmatch(r"([\w.]+)(:input)?(?:\[(\d+)\])?", tap).groups()

        def keep(_, args, output, role=role, is_input=is_input, item=item):
            value = args[0] if is_input else output
            found[role] = value[int(item)] if item else value

        handles.append(network.get_submodule(path).register_forward_hook(keep))
    output = network(images)
    for handle in handles:
        handle.remove()
    return output, found


@pytest.mark.parametrize("name", SHAPES)
def test_logits_and_features(name: str) -> None:
    stride, features, has_aux = SHAPES[name]
    with torch.device("meta"):  # shapes only
        network = models.build(name, 5)
        output, found = read_roles(network, torch.zeros(2, 3, SIDE, SIDE))

    assert isinstance(output, SegOutput)
    assert output.logits.shape == (2, 5, SIDE // stride, SIDE // stride)
    assert (output.aux is not None) == has_aux
    if has_aux:
        assert output.aux.shape == output.logits.shape
        assert found.pop("aux") is output.aux
    embeddings = [found.pop(f"embedding{number}") for number in (1, 2, 3, 4) if name.startswith("segformer")]
    assert [(f.shape[1], SIDE // f.shape[2]) for f in embeddings] == features[: len(embeddings)]
    assert list(found) == ["stage1", "stage2", "stage3", "stage4", "head"]
    assert [(f.shape[1], SIDE // f.shape[2]) for f in found.values()] == features


@pytest.mark.parametrize("name", ["pspnet_resnet18", "deeplabv3plus_mobilenetv2", "segformer_b0"])
def test_every_parameter_learns_from_two_small_images(name: str) -> None:
    network = models.build(name, 5)
    output = network(torch.randn(2, 3, SIDE, SIDE))
    sum(logits.square().mean() for logits in output if logits is not None).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("name", ["deeplabv3_mobilenetv2", "pspnet_resnet18", "deeplabv3plus_mobilenetv2"])
def test_head_is_all_that_the_classifier_sees(name: str) -> None:
    network = models.build(name, 5).eval()
    output, found = read_roles(network, torch.randn(1, 3, SIDE, SIDE))
    assert torch.equal(network.segmentation_head(found["head"]), output.logits)


def test_the_head_has_dropout_in_training_only() -> None:
    network = models.build("deeplabv3_mobilenetv2", 5)
    decoded: list[Tensor] = []
    network.decoder.register_forward_hook(lambda _, args, output: decoded.append(output))
    images = torch.randn(2, 3, SIDE, SIDE)
    for mode, share in ((True, 0.1), (False, 0.0)):
        _, found = read_roles(network.train(mode), images)
        dropped = found["head"][decoded.pop() > 0] == 0
        assert dropped.float().mean().item() == pytest.approx(share, abs=0.02)


def test_aicsds_decoder_has_dropout_between_its_convolutions_and_no_key_for_it() -> None:
    network = models.build("deeplabv3plus_mobilenetv2", 5)
    first, second = network.decoder.fuse
    before: list[Tensor] = []
    after: list[Tensor] = []
    first.register_forward_hook(lambda _, args, output: before.append(output))
    second.register_forward_hook(lambda _, args, output: after.append(args[0]))
    for mode, share in ((True, 0.5), (False, 0.0)):
        network.train(mode)(torch.randn(2, 3, SIDE, SIDE))
        dropped = after.pop()[(kept := before.pop()) > 0] == 0
        assert dropped.numel() > kept.numel() / 10
        assert dropped.float().mean().item() == pytest.approx(share, abs=0.02)
    keys = {key for key in network.state_dict() if key.startswith("decoder.fuse")}
    assert {key.split(".")[2] for key in keys} == {"0", "1"}


@pytest.mark.parametrize("name", ["deeplabv3_mobilenetv2", "deeplabv3_resnet18"])
def test_pretrained_filters_see_the_same_pixels_when_dilated(name: str) -> None:
    strided = models.build(name, 5, output_stride=32).encoder.eval()
    dilated = models.build(name, 5).encoder.eval()
    for module in strided.modules():
        if isinstance(module, nn.BatchNorm2d):  # initial gains of 0 would hide the residual branches
            nn.init.uniform_(module.weight, 0.9, 1.1)
    dilated.load_state_dict(strided.state_dict())
    images = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        coarse, fine = strided(images), dilated(images)
    for stage, step in ((3, 1), (4, 2), (5, 4)):
        scale = coarse[stage].abs().max()
        torch.testing.assert_close(fine[stage][:, :, ::step, ::step] / scale, coarse[stage] / scale, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "rates"), [("deeplabv3_resnet18", (12, 24, 36)), ("deeplabv3plus_resnet18", (6, 12, 18))]
)
def test_rates_follow_the_stride(name: str, rates: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        network = models.build(name, 5)
    dilations = [m.dilation[0] for m in network.decoder.modules() if isinstance(m, nn.Conv2d) and m.dilation[0] > 1]
    assert tuple(dilations) == rates


def test_another_encoder_and_stride() -> None:
    network = models.build("deeplabv3_resnet18", 5, encoder="resnet18", output_stride=16).eval()
    assert network.state_dict()["encoder.model.conv1.weight"].shape == (64, 3, 7, 7)
    assert network(torch.zeros(1, 3, SIDE, SIDE)).logits.shape == (1, 5, 4, 4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "deeplabv3_resnet18",
            {"encodr": "x"},
            "option of deeplabv3_resnet18 'encodr'; did you mean 'encoder'",
        ),
        ("deeplabv3_resnet18", {"encoder": "resnet1"}, "did you mean 'tu-resnet18'?"),
        ("deeplabv3_resnet18", {"output_stride": 4}, "must be 8, 16 or 32, got 4"),
        ("segformer_b0", {"encoder": "x"}, "option of segformer_b0 'encoder'; there are none"),
    ],
)
def test_wrong_options(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        models.build(name, 5, **options)


def test_no_classes() -> None:
    with pytest.raises(UserError, match="num_classes must be at least 1, got 0"):
        models.build("deeplabv3_mobilenetv2", 0)
