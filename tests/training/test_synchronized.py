"""Batch normalization over several processes: the network stays what it is."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segdistill import models
from segdistill.errors import UserError
from segdistill.outputs import read_output
from segdistill.training.synchronized import synchronized


@pytest.mark.parametrize("name", ["deeplabv3/tu-mobilenetv2_035", "deeplabv3plus/tu-test_resnet", "segformer_b0"])
def test_a_network_computes_what_it_did(name: str) -> None:
    """In MobileNetV2, timm's normalization also applies the activation, which PyTorch's conversion drops."""
    torch.manual_seed(0)
    network = models.build(name, 3).eval()
    converted = synchronized(copy.deepcopy(network))
    layers = [layer for layer in converted.modules() if isinstance(layer, _BatchNorm)]
    assert layers
    assert all(isinstance(layer, nn.SyncBatchNorm) for layer in layers)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(read_output(converted(images)).logits, read_output(network(images)).logits)
    assert converted.state_dict().keys() == network.state_dict().keys()


class Doubled(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def test_a_layer_whose_work_would_be_lost_is_named() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), Doubled(4))
    with pytest.raises(UserError, match="^1 is a Doubled, whose own forward would be lost .* train.devices=1"):
        synchronized(network)
