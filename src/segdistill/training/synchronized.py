"""Batch normalization whose statistics are those of all processes."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from segdistill.errors import UserError
from segdistill.losses._batch_norm import BatchNorm


def synchronized(network: nn.Module) -> nn.Module:
    """Return the network with the batch normalization of all processes.

    Layers of timm that also apply an activation keep it: ``nn.SyncBatchNorm`` alone would drop it. A layer that is
    itself the network is replaced; inside a network the layers are replaced in place.

    Raises:
        UserError: A layer computes something of its own, which the conversion would drop.
    """
    # Imported here because only a run on several GPUs needs it.
    from timm.layers import BatchNormAct2d, convert_sync_batchnorm

    for name, layer in network.named_modules():
        if not isinstance(layer, _BatchNorm) or isinstance(layer, BatchNorm | BatchNormAct2d):
            continue
        if type(layer).forward not in (_BatchNorm.forward, nn.SyncBatchNorm.forward):
            raise UserError(
                f"{name} is a {type(layer).__name__}, whose own forward would be lost between several GPUs; train on "
                "one with train.devices=1, or build the network with nn.BatchNorm2d"
            )
    converted: nn.Module = convert_sync_batchnorm(network)
    return converted
