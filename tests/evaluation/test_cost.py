"""What a network costs: operations counted against those of the hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import flop_counter

from segdistill.evaluation.cost import count_flops


class Attention(nn.Module):
    """One layer of attention over 10 x 10 positions, two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.values = nn.Linear(3, 24)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.values(images.flatten(2).transpose(1, 2))
        q, k, v = (x.unflatten(-1, (2, 4)).transpose(1, 2) for x in tokens.chunk(3, dim=-1))
        return F.scaled_dot_product_attention(q, k, v)


class TransformerLayer(nn.Module):
    """PyTorch's own, which has a fused path of its own in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Linear(3, 8)
        self.layer = nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=16, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(self.tokens(images.flatten(2).transpose(1, 2)))


# Two heads of width 4: each makes 100 x 100 scores and from them 100 x 4 values.
PRODUCTS = 2 * 2 * (2 * 100 * 100 * 4)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("kernel", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
@pytest.mark.parametrize(
    ("build", "linear"),
    [(Attention, 3 * 24), (TransformerLayer, 3 * 8 + 8 * 24 + 8 * 8 + 2 * 8 * 16)],
)
def test_attention_counts_its_matrix_products_whatever_computes_it(build, linear: int, kernel, device: str) -> None:
    network = build().to(device)
    with sdpa_kernel(kernel):
        assert count_flops(network, (10, 10)) == PRODUCTS + 2 * 100 * linear
    assert torch.backends.mha.get_fastpath_enabled()


def test_attention_is_counted_where_fused_kernels_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyTorch 2.9, whose counter does not know the fused kernel of CPUs."""
    for operation in [op for op in flop_counter.flop_registry if "attention" in str(op)]:
        monkeypatch.delitem(flop_counter.flop_registry, operation)
    assert count_flops(Attention(), (10, 10)) == PRODUCTS + 2 * 100 * 3 * 24
