"""Batch normalization with the statistics of all processes."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from segdistill.errors import UserError


def synchronized(network: nn.Module) -> nn.Module:
    """Return the network with the batch normalization of all processes. Its layers are replaced in place.

    Layers of timm that also apply an activation keep it: PyTorch's conversion would drop it.

    Raises:
        UserError: A layer has its own ``forward``, which the conversion would drop, and no ``can_be_converted``.
    """
    # Imported here because only a run on several GPUs needs it.
    from timm.layers import BatchNormAct2d, convert_sync_batchnorm

    for name, layer in network.named_modules():
        if not isinstance(layer, _BatchNorm) or isinstance(layer, BatchNormAct2d):
            continue
        has_own_forward = type(layer).forward not in (_BatchNorm.forward, nn.SyncBatchNorm.forward)
        if has_own_forward and not getattr(layer, "can_be_converted", False):
            raise UserError(
                f"{name} is a {type(layer).__name__}, whose own forward would be lost between several GPUs; train on "
                "one with train.devices=1, or build the network with nn.BatchNorm2d"
            )
    converted: nn.Module = convert_sync_batchnorm(network)
    return converted
