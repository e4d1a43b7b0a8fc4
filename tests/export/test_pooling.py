"""Replaced pooling has the values of PyTorch's layers, at every size."""

import pytest
import torch
from torch import nn

from segdistill.export.pooling import CeilPooling, MatrixPooling, means, replaced_pooling

SIZES = [(1, 1), (1, 7), (5, 6), (6, 6), (12, 16), (13, 17), (23, 60)]


def test_the_means_by_hand() -> None:
    # 5 positions in 3 cells: floor(5 i / 3) to ceil(5 (i + 1) / 3) are 0..2, 1..4 and 3..5.
    expected = torch.tensor([[1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 1, 1]]) / torch.tensor([[2], [3], [2]])
    assert torch.equal(means(3, 5, expected), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cells", [(1, 3), (2, 2), (3, 3), (6, 6)])
def test_adaptive_pooling(size: tuple[int, int], cells: tuple[int, int], rng) -> None:
    x = torch.randn(2, 3, *size, generator=rng)
    torch.testing.assert_close(MatrixPooling(*cells)(x), nn.AdaptiveAvgPool2d(cells)(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", SIZES[2:])
@pytest.mark.parametrize(("window", "stride"), [((2, 2), (2, 2)), ((3, 2), (2, 1)), ((3, 3), (3, 2))])
@pytest.mark.parametrize("counts", [True, False])
def test_pooling_with_partial_windows(size, window, stride, counts: bool, rng) -> None:
    x = torch.randn(2, 3, *size, generator=rng)
    layer = nn.AvgPool2d(window, stride, ceil_mode=True, count_include_pad=counts)
    torch.testing.assert_close(CeilPooling(window, stride)(x), layer(x), rtol=1e-5, atol=1e-6)


def test_only_what_needs_it_is_replaced_and_put_back() -> None:
    network = nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.AdaptiveAvgPool2d((2, 3)),
        nn.AdaptiveAvgPool2d((None, 3)),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, padding=1, ceil_mode=True),
        nn.Sequential(nn.AdaptiveAvgPool2d(6)),
    )
    before = list(network.modules())
    with pytest.raises(RuntimeError, match="inside"), replaced_pooling(network):
        kinds = [type(module).__name__ for module in network]
        inner = type(network[6][0])
        raise RuntimeError("inside")
    assert kinds == ["AdaptiveAvgPool2d", "MatrixPooling", "AdaptiveAvgPool2d", "CeilPooling", "AvgPool2d",
                     "AvgPool2d", "Sequential"]  # fmt: skip
    assert inner is MatrixPooling
    assert list(network.modules()) == before
