"""Launch Lightning Fabric for a run: device, precision, processes."""

import os

import torch
from lightning_fabric import Fabric

from segdistill.errors import UserError
from segdistill.recipes.schema import Train
from segdistill.system.processes import are_several, note_started


def launch(train: Train) -> Fabric:
    """Launch Fabric, and its other processes if the training uses several.

    Raises:
        UserError: If the machine lacks the devices, or the length of the training is not given in steps.
    """
    if train.epochs is not None or train.budget != 1:
        raise UserError(
            "train.epochs and train.budget are converted to steps by segdistill.recipes.load; give iterations"
        )
    if isinstance(train.devices, int) and train.devices > 1 and not are_several():
        # Fabric's processes read this variable. They share the threads of this one instead of using its number each.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // train.devices)))
    try:
        fabric = Fabric(
            accelerator=train.accelerator, devices=train.devices, num_nodes=train.nodes, precision=train.precision
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"train.accelerator={train.accelerator}, train.devices={train.devices} is not available here: {reason}"
        ) from None
    fabric.launch()
    note_started(getattr(fabric.strategy.launcher, "procs", ()))
    return fabric


def has_several_gpus(fabric: Fabric) -> bool:
    """Return whether several processes train, each on a GPU: ``nn.SyncBatchNorm`` has no version for the CPU."""
    return fabric.world_size > 1 and fabric.device.type == "cuda"
