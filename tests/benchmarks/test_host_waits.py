"""The counter of host waits sees each kind of wait, in backward passes too, and nothing else."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.host_waits import HostWaits

X = torch.tensor([1.0, 0.0, 2.0])
MASK = X > 0
COUNTS = torch.tensor([1, 0, 2])


@pytest.mark.parametrize(
    ("kind", "work"),
    [
        ("nonzero", lambda: X.nonzero()),
        ("nonzero", lambda: torch.where(MASK)),
        ("item", lambda: X.sum().item()),
        ("item", lambda: bool(MASK.any())),
        ("unique", lambda: torch.unique(X)),
        ("unique", lambda: torch.unique(X[None], dim=1)),
        ("unique", lambda: torch.unique_consecutive(X)),
        ("masked_select", lambda: X.masked_select(MASK)),
        ("boolean index", lambda: X[MASK]),
        ("boolean index", lambda: X.clone().index_put_((MASK,), X[:2])),
        ("bincount", lambda: torch.bincount(COUNTS)),
        ("equal", lambda: torch.equal(X, X)),
        ("repeat_interleave", lambda: X.repeat_interleave(COUNTS)),
        ("tensor from Python values", lambda: torch.tensor([1.0, 2.0])),
    ],
)
def test_a_wait_is_counted_once(kind: str, work: Callable[[], object]) -> None:
    with HostWaits() as waits:
        work()
    assert waits.counts == {kind: 1}
    assert waits.total == 1


@pytest.mark.parametrize(
    "work",
    [
        lambda: X.masked_fill(MASK, 0),
        lambda: torch.where(MASK, X, 0),
        lambda: X[COUNTS],
        lambda: X.index_select(0, COUNTS),
        lambda: X.repeat_interleave(COUNTS, output_size=3),
        lambda: X.repeat_interleave(2),
        lambda: X.to(torch.float64).softmax(0).sum(),
        lambda: torch.zeros(3).copy_(X),
    ],
)
def test_what_does_not_wait_is_not_counted(work: Callable[[], Tensor]) -> None:
    with HostWaits() as waits:
        work()
    assert waits.counts == {}


def test_the_backward_pass_counts() -> None:
    x = X.clone().requires_grad_()
    with HostWaits() as waits:
        x[MASK].sum().backward()
    assert waits.counts == {"boolean index": 2}
