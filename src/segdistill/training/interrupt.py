"""Signals that reach one process of several."""

import torch
from lightning_fabric import Fabric


def on_any(fabric: Fabric, here: bool) -> bool:
    """Return True if ``here`` is True on any process. All processes must call it."""
    if fabric.world_size == 1:
        return here
    flag = fabric.all_reduce(torch.tensor(float(here), device=fabric.device), reduce_op="sum")
    assert isinstance(flag, torch.Tensor)
    return bool(flag > 0)
