"""Time that a network needs for one image on this machine."""

import statistics
import time

import torch
from torch import nn

from segdistill.distillation.modes import evaluating
from segdistill.distillation.running import run

# Number of counted turns, and the seconds after which no further turn starts.
REPEATS, SECONDS = 5, 20.0


@torch.no_grad()
def latencies(networks: dict[str, nn.Module], size: tuple[int, int], device: torch.device) -> dict[str, float]:
    """Return the median time of one image in milliseconds, for each network by name.

    The networks take turns, so that other load on the machine slows all of them. The first turn is not counted.
    Large networks on a slow machine have fewer turns, at least one.

    Args:
        networks: The networks, on the device.
        size: The height and width of the image.
        device: The device of the networks.
    """
    times: dict[str, list[float]] = {name: [] for name in networks}
    started = time.perf_counter()
    for turn in range(REPEATS + 1):
        if turn > 1 and time.perf_counter() - started > SECONDS:
            break
        for name, network in networks.items():
            image = torch.zeros(1, 3, *size, device=device)
            with evaluating(network):
                _wait(device)
                began = time.perf_counter()
                run(network, image)
                _wait(device)
                if turn:
                    times[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in times.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
