"""Anybody's network: every kind of output, its own normalization, by object or by import path."""

import json
import logging
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from segdistill import models
from segdistill.errors import UserError
from segdistill.models import build, load, save_student
from segdistill.models.library import normalization
from segdistill.models.wrapper import IMAGENET_MEAN, IMAGENET_STD, Wrapped
from segdistill.outputs import SegOutput

IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]


class Net(nn.Module):
    """One convolution; gives its result in the form asked for."""

    def __init__(self, num_classes: int, kind: str = "tensor") -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, num_classes, 3, stride=4, padding=1)
        self.kind = kind

    def forward(self, images: Tensor) -> object:
        logits = self.conv(images)
        return {
            "tensor": logits,
            "dict": OrderedDict(out=logits, aux=2 * logits),
            "object": SimpleNamespace(logits=logits),
        }[self.kind]


def not_a_network(num_classes: int) -> str:
    return "no network"


@pytest.mark.parametrize("kind", ["tensor", "dict", "object"])
def test_every_kind_of_output(kind: str) -> None:
    net = Net(4, kind)
    images = torch.randn(2, 3, 16, 16)
    output = models.wrap(net)(images)
    assert isinstance(output, SegOutput)
    assert torch.equal(output.logits, net.conv(images))
    assert (output.aux is not None) == (kind == "dict")


def test_torchvision_segmentation_network() -> None:
    network = models.build("torchvision.models.segmentation:lraspp_mobilenet_v3_large", 4, weights_backbone=None).eval()
    assert network(torch.randn(1, 3, 64, 64)).logits.shape == (1, 4, 64, 64)


def test_roles_are_paths_of_the_module() -> None:
    net = Net(4)
    wrapped = models.wrap(net, roles={"head": "conv:input"})
    path, _, rest = wrapped.roles["head"].rpartition(":")
    assert wrapped.get_submodule(path) is net.conv
    assert rest == "input"
    net.roles = {"stage1": "conv"}
    assert models.wrap(net).roles == {"stage1": "network.conv"}


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
        (None, (1.0, 1.0, 1.0)),
    ],
)
def test_images_are_converted_to_the_networks_normalization(mean, std) -> None:
    image = torch.rand(2, 3, 5, 6, dtype=torch.float64)
    given = (image - IMAGENET[0]) / IMAGENET[1]
    used_mean = IMAGENET[0] if mean is None else torch.tensor(mean).view(3, 1, 1)
    expected = (image - used_mean) / torch.tensor(std).view(3, 1, 1)
    wrapped = models.wrap(nn.Identity(), mean=mean, std=std).double()
    torch.testing.assert_close(wrapped(given).logits, expected, rtol=1e-5, atol=1e-5)


def test_conversion_is_no_part_of_the_state() -> None:
    wrapped = models.wrap(Net(4), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert set(wrapped.state_dict()) == {"network.conv.weight", "network.conv.bias"}
    assert wrapped.half().scale.dtype == torch.float16


@pytest.mark.parametrize("std", [(1.0, 1.0), (1.0, 0.0, 1.0)])
def test_impossible_deviation(std: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="three numbers each, std positive"):
        models.wrap(Net(4), std=std)


def test_build_by_import_path() -> None:
    network = models.build(f"{__name__}:Net", 6, kind="dict")
    assert network(torch.randn(1, 3, 16, 16)).aux.shape == (1, 6, 4, 4)


def test_a_callable_that_wraps_is_not_wrapped_again() -> None:
    assert isinstance(models.build(f"{__name__}:wrapped_net", 6).network, Net)


def wrapped_net(num_classes: int) -> nn.Module:
    return models.wrap(Net(num_classes), mean=(0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "no_such_package.nets:Net",
            {},
            "cannot import model .*No module named 'no_such_package'.*PYTHONPATH",
        ),
        (f"{__name__}:Nett", {}, f"unknown callable in {__name__} 'Nett'; did you mean 'Net'?"),
        (f"{__name__}:Net", {"kindd": 1}, "cannot be called with num_classes, kindd: .*kindd"),
        (f"{__name__}:not_a_network", {}, "returned str; expected a torch.nn.Module"),
    ],
)
def test_import_paths_that_lead_nowhere(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        models.build(name, 3, **options)


# A callable that wraps its network with values of its own


def half_net(num_classes: int) -> nn.Module:
    return models.wrap(Pixels(num_classes), mean=HALF, std=HALF, roles={"head": "only"})


class Pixels(nn.Module):
    """Scores that are the pixels of the image as the network gets them, times a weight of 1."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.only = nn.Identity()
        self.weight = nn.Parameter(torch.ones(num_classes, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.only(images * self.weight)


HALF, TENTH = (0.5, 0.5, 0.5), (0.1, 0.2, 0.3)
HALF_NET = f"{__name__}:half_net"


def pixels_of(image: Tensor, network: nn.Module) -> Tensor:
    return network((image - IMAGENET[0]) / IMAGENET[1]).logits


@pytest.mark.parametrize(
    ("keys", "mean", "std"),
    [
        ({}, HALF, HALF),
        ({"mean": HALF, "std": HALF}, HALF, HALF),
        ({"mean": TENTH, "std": (0.2, 0.2, 0.2)}, TENTH, (0.2, 0.2, 0.2)),
        ({"mean": TENTH}, TENTH, HALF),
        ({"std": TENTH}, HALF, TENTH),
        ({"mean": IMAGENET_MEAN, "std": IMAGENET_STD}, IMAGENET_MEAN, IMAGENET_STD),
    ],
)
def test_values_that_are_given_replace_those_of_a_callable(keys, mean, std, tmp_path: Path) -> None:
    image = torch.rand(2, 3, 5, 6)
    expected = (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    built = build(HALF_NET, 3, **keys)
    torch.testing.assert_close(pixels_of(image, built), expected, rtol=1e-5, atol=1e-5)
    assert built.roles == {"head": "network.only"}
    save_student(built, tmp_path, name=HALF_NET, num_classes=3)
    loaded = load(tmp_path, trust=True)
    assert torch.equal(pixels_of(image, loaded), pixels_of(image, built))
    assert (loaded.mean, loaded.std) == (tuple(mean), tuple(std))


def _inside(network: Wrapped) -> Wrapped:
    network.network = torch.compile(network.network, backend="eager")
    return network


@pytest.mark.parametrize("around", [lambda net: torch.compile(net, backend="eager"), nn.DataParallel, _inside])
def test_a_wrapped_student_is_saved_as_the_network_inside(around, tmp_path: Path) -> None:
    built = build(HALF_NET, 3, align_corners=True)
    save_student(around(built), tmp_path, name=HALF_NET, num_classes=3)
    assert not any("_orig_mod" in key for key in load_file(tmp_path / "student.safetensors"))
    loaded = load(tmp_path, trust=True)
    image = torch.rand(1, 3, 4, 4)
    assert torch.equal(pixels_of(image, loaded), pixels_of(image, built))
    assert (loaded.mean, loaded.align_corners) == (HALF, True)


def test_a_file_of_an_earlier_version_keeps_a_callables_values(tmp_path: Path) -> None:
    built = build(HALF_NET, 3)
    save_student(built, tmp_path, name=HALF_NET, num_classes=3)
    spec = json.loads((tmp_path / "student.json").read_text())
    del spec["network_mean"], spec["network_std"]
    (tmp_path / "student.json").write_text(json.dumps(spec))
    image = torch.rand(1, 3, 4, 4)
    assert torch.equal(pixels_of(image, load(tmp_path, trust=True)), pixels_of(image, built))


def test_values_of_a_callable_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "segdistill")
    build(HALF_NET, 3)
    build(f"{__name__}:Net", 3)
    assert caplog.messages == [
        f"{HALF_NET}: images are normalized with mean [0.5, 0.5, 0.5] and deviation [0.5, 0.5, 0.5]"
    ]


def test_a_network_of_torchvision_keeps_its_roles() -> None:
    name = "torchvision/lraspp_mobilenet_v3_large"
    assert build(name, 3, mean=HALF).roles == build(name, 3).roles != {}


# What encoders expect


def test_an_encoder_with_values_of_its_own_gets_images_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "segdistill")
    torch.manual_seed(0)
    assert not isinstance(build("unet/tu-mixnet_s", 3), Wrapped)  # ImageNet's: as it was
    name = "unet/tu-tf_mobilenetv3_small_minimal_100"
    own = build(name, 3).eval()
    given = build(name, 3, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert not isinstance(given, Wrapped)  # a word of the user's
    assert f"{name}: images are normalized with mean [0.5, 0.5, 0.5] and deviation [0.5, 0.5, 0.5]" in caplog.messages
    seen = []
    own.network.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    white = (torch.ones(1, 3, 64, 64) - IMAGENET[0]) / IMAGENET[1]
    own(white)
    torch.testing.assert_close(seen[0], torch.ones(1, 3, 64, 64))
    save_student(own, tmp_path, name=name, num_classes=3)
    spec = json.loads((tmp_path / "student.json").read_text())
    assert spec["network_mean"] == spec["network_std"] == [0.5, 0.5, 0.5]
    torch.testing.assert_close(load(tmp_path)(white).logits, own(white).logits)


@pytest.mark.parametrize("key", ["network_mean", "network_std"])
def test_a_student_of_an_earlier_version_keeps_imagenets(tmp_path: Path, key: str) -> None:
    save_student(build("unet/tu-mixnet_s", 3), tmp_path, name="unet/tu-mixnet_s", num_classes=3)
    spec = json.loads((tmp_path / "student.json").read_text())
    assert spec.pop(key) == list(IMAGENET_MEAN if key == "network_mean" else IMAGENET_STD)
    (tmp_path / "student.json").write_text(json.dumps(spec))
    assert not isinstance(load(tmp_path), Wrapped)


def test_timms_records_are_read() -> None:
    assert normalization("tu-vit_base_patch16_224") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert normalization("tu-resnet18") == (IMAGENET_MEAN, IMAGENET_STD)
    assert normalization("resnet18") == (None, None)
