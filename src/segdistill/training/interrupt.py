"""Ctrl-C, SIGTERM and a lost terminal take effect between two steps, when there is something whole to save."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from lightning_fabric import Fabric


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Let a step finish before Ctrl-C, SIGTERM or SIGHUP takes effect; a second one takes effect at once.

    SIGHUP stays ignored where it is, as under ``nohup``.
    """
    caught: list[int] = []

    def catch(number: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # Windows has none
        numbers.append(signal.SIGHUP)
    try:
        before = {number: signal.signal(number, catch) for number in numbers}
    except ValueError:  # not the main thread, which alone may catch signals
        before = {}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def on_any(fabric: Fabric, here: bool) -> bool:
    """Tell whether something is so on any process, where there are several."""
    if fabric.world_size == 1:
        return here
    flag = fabric.all_reduce(torch.tensor(float(here), device=fabric.device), reduce_op="sum")
    assert isinstance(flag, torch.Tensor)
    return bool(flag > 0)
