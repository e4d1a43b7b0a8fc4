"""Antialiased resizing by matrix products has the values of PyTorch's."""

import pytest
import torch
import torch.nn.functional as F

from segdistill.export.antialiasing import resized, weights, without_antialiasing
from segdistill.export.program import Program
from segdistill.export.trace import trace
from tests.networks import small


def test_the_weights_by_hand() -> None:
    # The centers of two rows of four positions are 0.5 and 2.5. A triangle reaches 2 positions far: 3/4, 3/4, 1/4, 0.
    expected = torch.tensor([[3.0, 3.0, 1.0, 0.0], [0.0, 1.0, 3.0, 3.0]]) / 7
    torch.testing.assert_close(weights(2, 4, expected), expected)


@pytest.mark.parametrize("size", [(1, 1), (4, 9), (20, 26), (10, 13), (37, 5), (41, 60)])
def test_is_what_pytorch_computes(size: tuple[int, int], rng: torch.Generator) -> None:
    x = 255 * torch.rand(2, 3, 20, 26, generator=rng)
    expected = F.interpolate(x, size, mode="bilinear", antialias=True)
    torch.testing.assert_close(resized(x, *size), expected, rtol=1e-5, atol=1e-4)


def test_each_pass_of_the_scaling_is_one_product() -> None:
    """The product with the identity, for the side that a pass keeps, would cost more than many networks."""
    program = Program(small(4), scale=0.5).eval()
    replaced = without_antialiasing(trace(program))
    assert [str(node.target) for node in replaced.graph.nodes].count("aten.matmul.default") == 2
    images = torch.randint(0, 256, (2, 37, 41, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(replaced.module()(images), program(images))
