"""Grad-CAM against numbers by hand, a literal reference, and captum if it is installed."""

import pytest
import torch
from torch import Tensor, nn

from segdistill.errors import UserError
from segdistill.explain.grad_cam import grad_cam
from tests.networks import WithAux, large


class Two(nn.Module):
    """A feature of two channels, and logits that weight them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 2, 1, bias=False)
        self.classify = nn.Conv2d(2, 2, 1, bias=False)
        with torch.no_grad():
            self.body.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]]).view(2, 3, 1, 1))
            self.classify.weight.copy_(torch.tensor([[2.0, -1], [-3, 1]]).view(2, 2, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.body(images))


def test_by_hand() -> None:
    image = torch.tensor([[[1.0, 4.0]], [[1.0, 16.0]], [[0.0, 0.0]]])[None]  # (1, 3, 1, 2)
    labels = torch.tensor([[[0, 0]]])
    maps = grad_cam(Two(), image, labels, [0, 1], feature="body")
    # Class 0: both positions count, so the weights are 2 and -1: 2 - 1, and 8 - 16 below zero. Class 1 has no position.
    assert maps.tolist() == [[[[1.0, 0.0]], [[0.0, 0.0]]]]
    halved = grad_cam(Two(), image, torch.tensor([[[0, 255]]]), [0], feature="body")
    assert halved.tolist() == [[[[0.5, 0.0]]]]


def literal(network: nn.Module, image: Tensor, labels: Tensor, index: int, module: nn.Module) -> Tensor:
    """Grad-CAM in loops, with a hook and autograd."""
    kept: list[Tensor] = []
    handle = module.register_forward_hook(lambda *values: kept.append(values[-1]))
    output = network(image)
    handle.remove()
    logits = output["out"] if isinstance(output, dict) else output
    score = torch.zeros(())
    height, width = logits.shape[2:]
    for row in range(height):
        for column in range(width):
            if labels[0, row * labels.shape[1] // height, column * labels.shape[2] // width] == index:
                score = score + logits[0, index, row, column]
    gradient = torch.autograd.grad(score, kept[0])[0][0]
    total = torch.zeros(kept[0].shape[2:])
    for channel in range(len(gradient)):
        total = total + gradient[channel].sum() / gradient[channel].numel() * kept[0][0, channel]
    return total.clamp(min=0).detach()


@pytest.fixture
def scene() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, 24, 36, generator=generator), torch.randint(0, 4, (1, 24, 36), generator=generator)


def test_is_the_equation_taken_literally(scene: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(6, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 4, 1)
    )
    maps = grad_cam(network, *scene, [0, 3], feature="1")
    for position, index in enumerate([0, 3]):
        torch.testing.assert_close(maps[0, position], literal(network, *scene, index, network[1]))
    assert maps.max() > 0


def test_of_captum(scene: tuple[Tensor, Tensor]) -> None:
    attr = pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    network = WithAux().eval()
    image, labels = scene
    known = labels[:, ::4, ::4] == 2
    cam = attr.LayerGradCam(lambda x: (network(x)["out"][:, 2] * known).flatten(1).sum(1), network.body)
    expected = cam.attribute(image, relu_attributions=True)[:, 0].detach()
    torch.testing.assert_close(grad_cam(network, image, labels, [2], feature="body")[:, 0], expected)


def test_a_frozen_network_stays_as_it_is(scene: tuple[Tensor, Tensor]) -> None:
    network = large(4).train().requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    image = scene[0].clone()
    with torch.no_grad():
        maps = grad_cam(network, image, scene[1], [0, 1])
    assert maps.shape[:2] == (1, 2)
    assert network.training
    assert not maps.requires_grad
    assert torch.equal(image, scene[0])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_in_place_dropout_hides_no_gradient(scene: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Sigmoid(), nn.Dropout2d(0.5), nn.Conv2d(6, 4, 1))
    expected = grad_cam(plain, *scene, [0, 1], feature="1")
    plain[2].inplace = True
    assert torch.equal(grad_cam(plain, *scene, [0, 1], feature="1"), expected)
    assert plain[2].inplace
    assert expected.max() > 0


def test_a_feature_that_the_logits_do_not_read(scene: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(UserError, match="do not depend on feature 'aux'"):
        grad_cam(WithAux(), *scene, [0], feature="aux")
    with pytest.raises(UserError, match="unknown feature"):
        grad_cam(WithAux(), *scene, [0], feature="nowhere")
