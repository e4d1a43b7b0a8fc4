"""Segmentation networks of torchvision by name. Nothing is downloaded."""

import inspect

from torch import nn
from torchvision.models import get_model, get_model_builder

from segdistill.errors import UserError, unknown
from segdistill.models.wrapper import wrap

# Arguments that this package sets itself.
_DECIDED = {"weights", "weights_backbone", "progress", "num_classes", "kwargs"}
# The last layers of torchvision's MobileNetV3-Large at strides 4, 8 and 16, and its last layer, which is dilated.
_MOBILENET_STAGES = (3, 6, 12, 16)


def build_torchvision(name: str, num_classes: int, options: dict[str, object]) -> nn.Module:
    """Return a network of torchvision, with logits at the size of the images.

    It publishes ``stage1`` to ``stage4``, the outputs of the backbone, and ``aux`` if it has an auxiliary head. Corners
    are not aligned, as in torchvision.

    Args:
        name: One of :data:`segdistill.models.names.TORCHVISION`.
        num_classes: Number of classes.
        options: ``aux_loss=True`` for the auxiliary head of DeepLabV3 and FCN.

    Raises:
        UserError: An unknown option.
    """
    known = set(inspect.signature(get_model_builder(name)).parameters) - _DECIDED
    for option in options:
        if option not in known:
            raise unknown(f"option of torchvision/{name}", option, known)
    try:
        network = get_model(name, weights=None, weights_backbone=None, num_classes=num_classes, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot build torchvision/{name} with {options or 'no options'}: {error}") from error
    layers = [f"layer{number}" for number in (1, 2, 3, 4)] if "resnet" in name else map(str, _MOBILENET_STAGES)
    roles = {f"stage{number}": f"backbone.{layer}" for number, layer in enumerate(layers, start=1)}
    if getattr(network, "aux_classifier", None) is not None:
        roles["aux"] = "aux_classifier"
    return wrap(network, roles=roles)
