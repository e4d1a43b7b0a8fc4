"""Forms of a network give its results; folding finds the pairs that it may fold."""

import copy

import pytest
import torch
from torch import Tensor, nn

from segdistill import models
from segdistill.outputs import read_output
from segdistill.speed.folding import folded
from segdistill.speed.form import FORMS, Form, keep_channels_last

NAMES = [
    "deeplabv3_mobilenetv2",
    "deeplabv3plus_resnet18",
    "pspnet_resnet18",
    "segformer_b0",
    "unet/tu-test_resnet",
    "unet/tu-test_efficientnet",  # its normalization contains the activation
    "torchvision/lraspp_mobilenet_v3_large",
]


def trained(network: nn.Module) -> nn.Module:
    """Return the network with statistics and weights of batch normalization as after a training."""
    rng = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in ((module.running_mean, -0.5, 0.5), (module.running_var, 0.5, 2.0)):
                values.copy_(low + (high - low) * torch.rand(values.shape, generator=rng))
            module.weight.data.uniform_(0.5, 1.5, generator=rng)
            module.bias.data.uniform_(-0.3, 0.3, generator=rng)
    return network.eval().requires_grad_(False)


def logits(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return read_output(network(images)).logits


@pytest.mark.parametrize("name", NAMES)
def test_every_form_gives_the_results_of_the_network(name: str, rng: torch.Generator) -> None:
    network = trained(models.build(name, 5))
    before = copy.deepcopy(network.state_dict())
    images = torch.randn(2, 3, 64, 96, generator=rng)
    expected = logits(network, images)
    for form in FORMS:
        torch.testing.assert_close(logits(form.of(network, images[:1]), images), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert logits(network, images).equal(expected)


@pytest.mark.parametrize("name", NAMES)
def test_folding_leaves_no_normalization_to_compute(name: str) -> None:
    network = trained(models.build(name, 5))
    images, ran = torch.randn(1, 3, 64, 64), []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            ran.append(func._schema.name)
            return func(*args, **(kwargs or {}))

    changed = folded(network, images)
    with Watch():
        logits(changed, images)
    assert not [name for name in ran if "batch_norm" in name and "backward" not in name]


class Shared(nn.Module):
    """Two normalizations of one output, and one layer that is called twice: nothing can be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = self.norms[0](x) + self.norms[1](x)
        return self.norms[2](self.second(self.second(x)))


def test_what_is_used_twice_is_not_folded(rng: torch.Generator) -> None:
    network, images = trained(Shared()), torch.randn(1, 3, 8, 8, generator=rng)
    torch.testing.assert_close(logits(folded(network, images), images), logits(network, images))


def test_half_precision_is_that_of_autocast(rng: torch.Generator) -> None:
    network, images = trained(models.build("unet/tu-test_resnet", 5)), torch.randn(1, 3, 64, 64, generator=rng)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = logits(network, images)
    found = logits(Form(half=True).of(network, images), images)
    assert found.dtype == torch.bfloat16
    assert found.equal(expected)


def test_channels_last_reaches_the_layers(rng: torch.Generator) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    keep_channels_last(network)
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last)
    assert network(torch.randn(1, 3, 8, 8, generator=rng)).is_contiguous(memory_format=torch.channels_last)


def test_names_of_forms() -> None:
    assert str(Form()) == "as it is"
    assert str(Form(folds=True, channels_last=True, half=True)) == "folded batch norm, channels last, bfloat16"
