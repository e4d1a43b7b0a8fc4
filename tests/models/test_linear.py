"""A vision transformer with a linear head."""

import pytest
import torch
from torch import nn

from segdistill import Distiller, models
from segdistill.distillation.features import FeatureReader
from segdistill.errors import UserError
from segdistill.outputs import aligns_corners, read_output


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return models.build(
        "linear/tu-vit_tiny_patch16_224", 5, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    ).eval()


def test_logits_are_linear_in_the_last_patch_tokens(network: nn.Module) -> None:
    images = torch.randn(2, 3, 64, 96)
    tokens = network.encoder.model.forward_intermediates(images, indices=[11], intermediates_only=True)[0]
    weight = network.segmentation_head[0].weight[:, :, 0, 0] / (1 + network.decoder.norm.eps) ** 0.5
    expected = torch.einsum("kc,nchw->nkhw", weight, tokens) + network.segmentation_head[0].bias[:, None, None]
    torch.testing.assert_close(network(images).logits, expected, rtol=1e-4, atol=1e-5)
    assert not aligns_corners(network)


def test_stages_are_four_blocks_evenly_spaced(network: nn.Module) -> None:
    images = torch.randn(1, 3, 64, 64)
    names = ["stage1", "stage2", "stage3", "stage4"]
    features = FeatureReader(network, names, torch.zeros(1, 3, 64, 64))(images)
    blocks = network.encoder.model.forward_intermediates(images, indices=[2, 5, 8, 11], intermediates_only=True)
    for name, block in zip(names, blocks, strict=True):
        torch.testing.assert_close(features[name], block)


def test_images_of_any_size_are_padded_to_whole_patches(network: nn.Module) -> None:
    assert network(torch.randn(1, 3, 70, 100)).logits.shape == (1, 5, 5, 7)


def test_a_transformer_teaches_a_convolutional_student(network: nn.Module) -> None:
    student = models.build("deeplabv3/tu-test_resnet", 5)
    distiller = Distiller(student, network, "cwd")
    out = distiller(torch.randn(2, 3, 64, 64), torch.randint(5, (2, 64, 64)))
    out.total.backward()
    assert out.terms["cwd_features"] > 0


def test_a_network_that_is_no_transformer() -> None:
    with pytest.raises(UserError, match="the encoder must be a vision transformer of timm, as in linear/tu-vit"):
        models.build("linear/tu-test_resnet", 5)


def test_each_parameter_that_learns_is_used(network: nn.Module) -> None:
    """Several processes would wait for the gradient of the others."""
    read_output(network(torch.randn(1, 3, 32, 32))).logits.sum().backward()
    assert [name for name, each in network.named_parameters() if each.requires_grad and each.grad is None] == []
