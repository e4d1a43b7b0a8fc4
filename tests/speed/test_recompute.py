"""Recomputed activations: the same results, fewer tensors held."""

import copy

import pytest
import torch
from torch import Tensor, nn

from segdistill import models
from segdistill.outputs import read_output
from segdistill.speed.recompute import blocks, recompute


def step(network: nn.Module, images: Tensor) -> tuple[Tensor, int]:
    """Return the loss of a step and the numbers that its graph holds."""
    held: dict[int, int] = {}

    def pack(saved: Tensor) -> Tensor:
        held[saved.data_ptr()] = saved.numel()
        return saved

    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        loss = read_output(network(images)).logits.square().mean()
    loss.backward()
    return loss.detach(), sum(held.values())


@pytest.mark.parametrize(
    "name", ["deeplabv3_resnet18", "deeplabv3_mobilenetv2", "segformer_b0", "torchvision/fcn_resnet50"]
)
def test_a_step_is_the_same_to_the_bit_and_holds_less(name: str, rng: torch.Generator) -> None:
    network = models.build(name, 5).train()
    other = copy.deepcopy(network)
    assert recompute(other) == len(blocks(network)) >= 4
    images = torch.randn(2, 3, 64, 64, generator=rng)
    for _ in range(2):
        loss, held = step(network, images)
        recomputed, held_then = step(other, images)
        assert recomputed.equal(loss)
    assert held_then < 0.7 * held
    for key, value in network.state_dict().items():
        assert value.equal(other.state_dict()[key]), key
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        assert (one.grad is None and two.grad is None) or one.grad.equal(two.grad)


def test_normalization_over_several_gpus_is_recomputed(rng: torch.Generator) -> None:
    """``nn.SyncBatchNorm`` insists on its counter, which must count each step once."""
    network = models.build("deeplabv3_resnet18", 5)
    assert recompute(network)
    network = nn.SyncBatchNorm.convert_sync_batchnorm(network).train()
    step(network, torch.randn(2, 3, 64, 64, generator=rng))
    counts = {m.num_batches_tracked.item() for m in network.modules() if isinstance(m, nn.SyncBatchNorm)}
    assert counts == {1}


def test_a_network_without_blocks_has_none() -> None:
    assert recompute(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))) == 0
